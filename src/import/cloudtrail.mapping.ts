import {
  firstKind,
  firstName,
  MAX_DESCRIPTION_LENGTH,
  objectOf,
  requiredText,
  targetsOf,
  textOf,
  uuidOf,
  type JsonObject,
  type MappedEvent,
  type SourceRecord,
} from './record-mapping';

const DOMAIN = '.amazonaws.com';

/** Services whose every call touches secrets or keys. */
const SECRET_SERVICES = new Set(['secretsmanager', 'kms']);

/** The last word of a parameter that names a thing: `bucketName`, `secretId`, `policyArn`, `s3Bucket`, `id`. */
const IDENTIFYING_NAME =
  /(?:^|[a-z0-9])(?:I[dD]|A(?:rn|RN)|Name|Identifier|Bucket)$|^(?:id|arn|name|identifier|bucket)$/;

/** Ids and names in conditions and labels are not those of the target. */
const NOT_A_TARGET = /filter|tag/i;

/**
 * Maps one AWS CloudTrail record. A principal's ARN that is too long for an id gives way to the next name of the same
 * principal; a target id or session id that is too long is left out. `metadata` holds them all.
 */
export function mapCloudTrail({ value, organizationId }: SourceRecord): MappedEvent {
  const source = requiredText(value, 'eventSource');
  const service = source.endsWith(DOMAIN) ? source.slice(0, -DOMAIN.length) : source;
  const name = requiredText(value, 'eventName');
  const identity = objectOf(value.userIdentity) ?? {};
  return {
    id: uuidOf(value.eventID),
    timestamp: requiredText(value, 'eventTime'),
    organizationId:
      organizationId ?? requiredText(value, 'recipientAccountId', ': give --organization'),
    principalId: firstName(identity.arn, identity.principalId, identity.invokedBy, source),
    action: `${service}:${name}`,
    ...targetsIn(value, source),
    ...outcomeOf(value),
    dataClassification: classificationOf(service, name),
    correlationId: firstName(value.sharedEventID, value.requestID, value.eventID),
    sessionContext: sessionOf(value, identity),
    principalType: firstKind(identity.type),
    principalName: firstName(
      identity.userName,
      objectOf(objectOf(identity.sessionContext)?.sessionIssuer)?.userName,
    ),
    source: { service: firstName(source), host: firstName(value.awsRegion) },
  };
}

/** Further resources that have an ARN are targets, too. */
function targetsIn(
  value: JsonObject,
  source: string,
): Pick<MappedEvent, 'targetResourceType' | 'targetResourceId' | 'targets'> {
  const first = targetOf(value, source);
  const resources: unknown[] = Array.isArray(value.resources) ? value.resources : [];
  const others = resources.slice(1).flatMap((resource) => {
    const { type, ARN } = objectOf(resource) ?? {};
    const id = firstName(ARN);
    return id === undefined ? [] : [{ type: firstName(type), id }];
  });
  const head = { type: first.targetResourceType, id: first.targetResourceId };
  return { ...first, targets: targetsOf(first, [head, ...others]) };
}

/** The first resource of the record; without one, the service and what the parameters identify. */
function targetOf(
  value: JsonObject,
  source: string,
): Pick<MappedEvent, 'targetResourceType' | 'targetResourceId'> {
  const resources: unknown[] = Array.isArray(value.resources) ? value.resources : [];
  const resource = objectOf(resources[0]) ?? {};
  const arn = textOf(resource.ARN);
  return {
    targetResourceType: firstName(resource.type, source),
    targetResourceId: arn ? firstName(arn) : findIdentifier(value.requestParameters),
  };
}

function outcomeOf(value: JsonObject): Pick<MappedEvent, 'status' | 'outcomeDescription'> {
  const code = textOf(value.errorCode);
  const message = textOf(value.errorMessage);
  const login = objectOf(value.responseElements)?.ConsoleLogin;
  const failed = code !== undefined || message !== undefined || login === 'Failure';
  const description = [code, message].filter((part) => part !== undefined).join(': ');
  return {
    status: failed ? 'failure' : 'success',
    outcomeDescription:
      description.length > MAX_DESCRIPTION_LENGTH ? firstName(code) : textOf(description),
  };
}

/** CloudTrail does not classify. Reading secrets, keys and stored parameters is confidential, the rest internal. */
function classificationOf(service: string, name: string): MappedEvent['dataClassification'] {
  const confidential =
    SECRET_SERVICES.has(service) || (service === 'ssm' && name.startsWith('GetParameter'));
  return confidential ? 'CONFIDENTIAL' : 'INTERNAL';
}

function sessionOf(value: JsonObject, identity: JsonObject): MappedEvent['sessionContext'] {
  const sessionId = firstName(identity.accessKeyId);
  const ipAddress = firstName(value.sourceIPAddress);
  const userAgent = textOf(value.userAgent);
  if (!sessionId && !ipAddress && !userAgent) return undefined;
  return { sessionId, ipAddress, userAgent };
}

/**
 * The first ARN in `requestParameters`, or value of a parameter with an IDENTIFYING_NAME, that fits in an id: outer
 * parameters before nested ones, then in the order of the record.
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
  if (Array.isArray(value)) {
    return value.map((item: unknown) => [name.replace(/(?:s|List)$/, ''), item]);
  }
  return Object.entries(objectOf(value) ?? {}).filter(([child]) => !NOT_A_TARGET.test(child));
}
