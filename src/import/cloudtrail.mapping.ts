import { findIdentifier } from './cloudtrail-identifier';
import {
  firstName,
  MAX_DESCRIPTION_LENGTH,
  objectOf,
  requiredText,
  textOf,
  UnmappableRecord,
  uuidOf,
  type JsonObject,
  type MappedEvent,
  type SourceRecord,
} from './record-mapping';

const DOMAIN = '.amazonaws.com';

/** Services whose every call touches secrets or keys. */
const SECRET_SERVICES = new Set(['secretsmanager', 'kms']);

/**
 * Maps one AWS CloudTrail record. A principal's ARN that is too long for an id gives way to the next name CloudTrail
 * has for the same principal; a target id or session id that is too long is left out. `metadata` holds them all.
 */
export function mapCloudTrail({ value, organizationId }: SourceRecord): MappedEvent {
  if (Array.isArray(value.Records)) {
    throw new UnmappableRecord(
      'is a whole file as AWS delivers it; its records, one a line: jq -c ".Records[]"',
    );
  }
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
    ...targetOf(value, source),
    ...outcomeOf(value),
    dataClassification: classificationOf(service, name),
    correlationId: firstName(value.sharedEventID, value.requestID, value.eventID),
    sessionContext: sessionOf(value, identity),
  };
}

/** The first resource the record names; without one, the service and what the parameters identify. */
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

/** An error code, an error message or a refused console login is a failure; everything else happened. */
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
