import { firstName, objectOf } from './record-mapping';

/** The last word of a parameter that names a thing: `bucketName`, `secretId`, `policyArn`, `dBInstanceIdentifier`, `s3Bucket`, `id`. */
const IDENTIFYING_NAME =
  /(?:^|[a-z0-9])(?:I[dD]|A(?:rn|RN)|Name|Identifier|Bucket)$|^(?:id|arn|name|identifier|bucket)$/;

/** Conditions and labels: the ids and names inside tell what was searched or how it was labelled, not what it is. */
const NOT_A_TARGET = /filter|tag/i;

/**
 * The first string in a call's `requestParameters` that identifies something: an ARN, or the value of a parameter
 * whose name ends in the word Id, Arn, Name, Identifier or Bucket. Outer parameters come before nested ones, then the
 * order of the record counts; filters and tags are not looked into. Undefined when there is none that fits in an id.
 */
export function findIdentifier(requestParameters: unknown): string | undefined {
  let level: [name: string, value: unknown][] = [['', requestParameters]];
  while (level.length > 0) {
    for (const [name, value] of level) {
      const found = identifierAt(name, value);
      if (found !== undefined) return found;
    }
    level = level.flatMap(([name, value]) => childrenOf(name, value));
  }
  return undefined;
}

function identifierAt(name: string, value: unknown): string | undefined {
  // EC2 writes some parameters as { "tag": 1, "content": "vpc-06fe1a64761a0f720" }.
  const text = firstName(value, objectOf(value)?.content);
  if (text === undefined) return undefined;
  return text.startsWith('arn:') || IDENTIFYING_NAME.test(name) ? text : undefined;
}

function childrenOf(name: string, value: unknown): [string, unknown][] {
  if (Array.isArray(value))
    return value.map((item: unknown) => [name.replace(/(?:s|List)$/, ''), item]);
  return Object.entries(objectOf(value) ?? {}).filter(([child]) => !NOT_A_TARGET.test(child));
}
