import { tableMapping } from './field-table';
import {
  firstName,
  type JsonObject,
  type MappedEvent,
  type MappedTarget,
  textOf,
  UnmappableRecord,
} from './record-mapping';

/** Entries are of actions that were done, but for these, which are refusals. */
const FAILED_ACTIONS = new Set(['user.failed_login', 'protected_branch.rejected_ref_update']);

/** Targets of an entry, the most specific first: member, and type of the target. */
const TARGETS = { repo: 'repository', team: 'team', user: 'user', org: 'organization' } as const;

/** Maps one entry of a GitHub audit log, of an organization or an enterprise. */
export const mapGitHub = tableMapping({
  id: ({ value, namedId }) => {
    const id = textOf(value._document_id);
    return id && namedId(id);
  },
  timestamp: [timestampOf],
  organizationId: ['org', 'org.0', 'business'],
  principalId: ['actor', numberText('actor_id')],
  action: ['action'],
  targetResourceType: [(value) => targetsIn(value)[0]?.type],
  targetResourceId: [(value) => targetsIn(value)[0]?.id],
  status: statusOf,
  outcomeDescription: ['explanation', 'reason', 'message'],
  dataClassification: () => 'INTERNAL',
  correlationId: ['request_id'],
  sessionId: ['hashed_token'],
  ipAddress: ['actor_ip'],
  userAgent: ['user_agent'],
  geolocation: ['actor_location.country_code'],
  principalType: [kindOf],
  targets: targetsIn,
});

/** Milliseconds since 1970; the two members are the same moment. */
function timestampOf(value: JsonObject): string {
  const time = value['@timestamp'] ?? value.created_at;
  if (typeof time === 'string' && time !== '') return time;
  const date = new Date(Number.isInteger(time) ? (time as number) : NaN);
  if (Number.isNaN(date.getTime())) {
    throw new UnmappableRecord(
      '@timestamp or created_at must be a whole number of milliseconds since 1970, or ISO 8601',
    );
  }
  return date.toISOString();
}

function numberText(name: string): (value: JsonObject) => string | undefined {
  return (value) => (Number.isSafeInteger(value[name]) ? String(value[name]) : undefined);
}

/** The organization is one only where there is no other: it is the place of all others. */
function targetsIn(value: JsonObject): MappedTarget[] {
  const found = Object.entries(TARGETS).flatMap(([member, type]) => {
    const id = textOf(value[member]);
    return id === undefined ? [] : [{ type, id: firstName(id) }];
  });
  return found.length > 1 ? found.filter(({ type }) => type !== TARGETS.org) : found;
}

/** Entries of the API say whether the actor is a bot. */
function kindOf({ actor_is_bot: isBot }: JsonObject): string | undefined {
  return typeof isBot === 'boolean' ? (isBot ? 'bot' : 'user') : undefined;
}

/** Requests to the API have the status code of their response. */
function statusOf(value: JsonObject): MappedEvent['status'] {
  const code = value.status_code;
  const isFailed = FAILED_ACTIONS.has(textOf(value.action) ?? '') || Number(code ?? 0) >= 400;
  return isFailed ? 'failure' : 'success';
}
