import { isIP } from 'node:net';
import { type Activity, activityOf, type Verb } from './activity';
import { contentOf, type EventContent, type EventFormat, present, targetsOf } from './event-format';

export const ECS_VERSION = '9.4.0';

const OUTCOMES = { success: 'success', failure: 'failure', attempt: 'unknown' };
const TYPES: Partial<Record<Verb, string>> = {
  logon: 'start',
  logoff: 'end',
  create: 'creation',
  read: 'access',
  delete: 'deletion',
};

/**
 * Elastic Common Schema, nested. `event.original` is the text of the event: a field that is not indexed, so that the
 * members of any metadata do not become fields of an index, and numbers keep their digits. What ECS has no field for
 * is in `audit`, a field set of this service.
 */
export const ECS: EventFormat = {
  isJson: true,
  write: (eventText) => {
    const content = contentOf(eventText);
    const event = JSON.stringify({ ...eventFields(content), original: eventText });
    const others = JSON.stringify(otherFields(content));
    // Numbers beyond 2^53 are exact only as text.
    return `${others.slice(0, -1)},"event":{"sequence":${content.sequence},${event.slice(1)}}`;
  },
};

function eventFields(content: EventContent): object {
  const activity = activityOf(content);
  return {
    kind: 'event',
    ...categoryOf(activity),
    id: content.id,
    action: content.action,
    outcome: OUTCOMES[content.status],
    created: content.recordedAt,
    dataset: 'audit',
    provider: content.source?.service ?? undefined,
    reason: content.outcomeDescription ?? undefined,
  };
}

/** Only pairs of category and type that ECS expects together. */
function categoryOf({ kind, verb }: Activity): { category?: string[]; type: string[] } {
  const type = verb === undefined ? 'info' : (TYPES[verb] ?? 'change');
  if (kind === 'authentication') return { category: ['authentication'], type: [type] };
  if (kind === 'account') return { category: ['iam'], type: [type, 'user'] };
  const isLogon = type === 'start' || type === 'end';
  if (kind === 'api') return { category: ['api'], type: [isLogon ? 'info' : type] };
  return { type: [isLogon ? 'info' : type] };
}

function otherFields(content: EventContent): object {
  const { principalId, principalName, sessionContext, source } = content;
  const { ipAddress, userAgent, geolocation, sessionId } = sessionContext ?? {};
  const ip = ipAddress && isIP(ipAddress) !== 0 ? ipAddress.replace(/%.*/, '') : undefined;
  const target = targetsOf(content).map((one) => present(one));
  const users = [principalId, principalName].filter((one) => one);
  return {
    '@timestamp': content.timestamp,
    ecs: { version: ECS_VERSION },
    message: content.action,
    organization: { id: content.organizationId },
    user: present({ id: principalId, name: principalName }),
    source: present({ address: ipAddress, ip, geo: present({ name: geolocation }) }),
    user_agent: present({ original: userAgent }),
    service: present({ name: source?.service, version: source?.version }),
    host: present({ name: source?.host }),
    related: present({ ip: ip && [ip], user: users.length === 0 ? undefined : users }),
    audit: present({
      data_classification: content.dataClassification,
      correlation_id: content.correlationId,
      session_id: sessionId,
      status: content.status,
      principal_type: content.principalType,
      schema_version: content.schemaVersion,
      target: target.length === 0 ? undefined : target,
    }),
  };
}
