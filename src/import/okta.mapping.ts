import { tableMapping, valueAt } from './field-table';
import {
  firstName,
  type JsonObject,
  type MappedEvent,
  type MappedTarget,
  objectOf,
  textOf,
  uuidOf,
} from './record-mapping';

const STATUSES: Record<string, MappedEvent['status'] | undefined> = {
  SUCCESS: 'success',
  ALLOW: 'success',
  FAILURE: 'failure',
  DENY: 'failure',
  RATE_LIMIT: 'failure',
};

/** Maps one event of Okta's System Log. Results that are neither good nor bad (SKIPPED, CHALLENGE, …) are attempts. */
export const mapOkta = tableMapping({
  id: ({ value, namedId }) => {
    const id = textOf(value.uuid);
    return uuidOf(id) ?? (id && namedId(id));
  },
  timestamp: ['published'],
  organizationId: [],
  principalId: ['actor.id', 'actor.alternateId'],
  action: ['eventType'],
  targetResourceType: ['target.0.type'],
  targetResourceId: ['target.0.id', 'target.0.alternateId'],
  status: (value) => STATUSES[textOf(valueAt(value, 'outcome.result')) ?? ''] ?? 'attempt',
  outcomeDescription: ['outcome.reason', 'displayMessage'],
  dataClassification: () => 'INTERNAL',
  correlationId: ['transaction.id'],
  sessionId: ['authenticationContext.externalSessionId'],
  ipAddress: ['client.ipAddress'],
  userAgent: ['client.userAgent.rawUserAgent'],
  geolocation: [locationOf],
  principalType: ['actor.type'],
  principalName: ['actor.displayName'],
  targets: (value) => (Array.isArray(value.target) ? value.target.map(targetOf) : []),
});

function targetOf(value: unknown): MappedTarget {
  const { type, id, alternateId, displayName } = objectOf(value) ?? {};
  return { type: firstName(type), id: firstName(id, alternateId), name: firstName(displayName) };
}

/** `Zürich, ZH, Switzerland` */
function locationOf(value: JsonObject): string {
  return ['city', 'state', 'country']
    .map((name) => textOf(valueAt(value, `client.geographicalContext.${name}`)))
    .filter((part) => part !== undefined)
    .join(', ');
}
