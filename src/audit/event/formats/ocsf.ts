import { isIP } from 'node:net';
import { parseFineInstant } from '../../../platform/runtime/instant';
import { type Activity, type ActivityKind, activityOf, type Verb } from './activity';
import {
  contentOf,
  type EventContent,
  type EventFormat,
  type EventTarget,
  present,
  targetsOf,
} from './event-format';

const OCSF_VERSION = '1.3.0';

/** Members of an event beside those of every class. */
type Members = Record<string, unknown>;

interface OcsfClass {
  uid: number;
  name: string;
  category: { uid: number; name: string };
  /** Ids and captions of its activities. Another verb is 99, with the action as its name. */
  activities: Partial<Record<Verb | 'password change' | 'password reset', [number, string]>>;
  members: (event: EventContent, activity: Activity) => Members;
  /** Profiles that its members need. */
  profiles?: string[];
}

const IAM = { uid: 3, name: 'Identity & Access Management' };
const APPLICATION = { uid: 6, name: 'Application Activity' };

const CLASSES: Record<ActivityKind, OcsfClass> = {
  authentication: {
    uid: 3002,
    name: 'Authentication',
    category: IAM,
    activities: { logon: [1, 'Logon'], logoff: [2, 'Logoff'] },
    members: (event) => ({
      user: userOf(event),
      session: sessionOf(event),
      // One of service and dst_endpoint is required: without a source it is the organization that is logged on to.
      service: present({
        name: event.source?.service || event.organizationId,
        version: event.source?.version,
      }),
      src_endpoint: sourceEndpoint(event),
      http_request: httpRequest(event),
    }),
  },
  account: {
    uid: 3001,
    name: 'Account Change',
    category: IAM,
    activities: {
      create: [1, 'Create'],
      enable: [2, 'Enable'],
      activate: [2, 'Enable'],
      resume: [2, 'Enable'],
      'password change': [3, 'Password Change'],
      'password reset': [4, 'Password Reset'],
      disable: [5, 'Disable'],
      deactivate: [5, 'Disable'],
      suspend: [5, 'Disable'],
      delete: [6, 'Delete'],
      lock: [9, 'Lock'],
    },
    members: (event, { target }) => ({
      actor: actorOf(event),
      user: present({ uid: target?.id, name: target?.name }),
      src_endpoint: sourceEndpoint(event),
      http_request: httpRequest(event),
    }),
  },
  entity: {
    uid: 3004,
    name: 'Entity Management',
    category: IAM,
    activities: {
      create: [1, 'Create'],
      read: [2, 'Read'],
      update: [3, 'Update'],
      delete: [4, 'Delete'],
      move: [5, 'Move'],
      enroll: [6, 'Enroll'],
      unenroll: [7, 'Unenroll'],
      enable: [8, 'Enable'],
      disable: [9, 'Disable'],
      activate: [10, 'Activate'],
      deactivate: [11, 'Deactivate'],
      suspend: [12, 'Suspend'],
      resume: [13, 'Resume'],
    },
    // In this class `actor` belongs to the profile.
    profiles: ['host'],
    members: (event, { target }) => ({
      actor: actorOf(event),
      entity: present({ uid: target?.id, name: target?.name, type: target?.type }),
      src_endpoint: sourceEndpoint(event),
      http_request: httpRequest(event),
    }),
  },
  api: {
    uid: 6003,
    name: 'API Activity',
    category: APPLICATION,
    activities: {
      create: [1, 'Create'],
      read: [2, 'Read'],
      update: [3, 'Update'],
      delete: [4, 'Delete'],
    },
    members: (event, { service, operation }) => ({
      actor: actorOf(event),
      api: present({ operation, service: present({ name: service }) }),
      resources: resourcesOf(event),
      src_endpoint: sourceEndpoint(event),
      dst_endpoint: present({ svc_name: event.source?.service, name: event.source?.host }),
      http_request: httpRequest(event),
    }),
  },
  other: {
    uid: 0,
    name: 'Base Event',
    category: { uid: 0, name: 'Uncategorized' },
    activities: {},
    members: () => ({}),
  },
};

const OTHER = 99;
const STATUSES = {
  success: { status_id: 1, status: 'Success' },
  failure: { status_id: 2, status: 'Failure' },
  attempt: { status_id: OTHER, status: 'attempt' },
};
const INFORMATIONAL = { severity_id: 1, severity: 'Informational' };
const LOW = { severity_id: 2, severity: 'Low' };

/**
 * OCSF 1.3 (schema.ocsf.io), in the class that fits the event. `unmapped` is the event to the letter, from which it is
 * restored exactly.
 */
export const OCSF: EventFormat = {
  isJson: true,
  write: (eventText) => {
    const event = contentOf(eventText);
    const members = JSON.stringify(mapped(event));
    return `${members.slice(0, -1)},"unmapped":${eventText}}`;
  },
};

function mapped(event: EventContent): Members {
  const activity = activityOf(event);
  const { uid, name, category, profiles, ...kind } = CLASSES[activity.kind];
  const [activityId, activityName] = activityIn(kind.activities, activity) ?? [OTHER, event.action];
  return {
    class_uid: uid,
    class_name: name,
    category_uid: category.uid,
    category_name: category.name,
    activity_id: activityId,
    activity_name: activityName,
    type_uid: uid * 100 + activityId,
    time: millisecondsOf(event.timestamp),
    ...(event.status === 'failure' ? LOW : INFORMATIONAL),
    ...STATUSES[event.status],
    status_detail: event.outcomeDescription ?? undefined,
    message: event.action,
    metadata: {
      version: OCSF_VERSION,
      profiles,
      product: { name: 'audit-server', vendor_name: 'audit-server' },
      uid: event.id,
      event_code: event.action,
      sequence: sequenceOf(event),
      tenant_uid: event.organizationId,
      correlation_uid: event.correlationId ?? undefined,
      original_time: event.timestamp,
      logged_time: millisecondsOf(event.recordedAt),
      log_name: 'audit',
      log_provider: event.source?.service ?? undefined,
      log_version: event.schemaVersion,
    },
    ...kind.members(event, activity),
  };
}

function activityIn(
  activities: OcsfClass['activities'],
  { verb, isOfPassword }: Activity,
): [number, string] | undefined {
  if (verb === undefined) return undefined;
  if (isOfPassword && activities['password change']) {
    return activities[verb === 'reset' ? 'password reset' : 'password change'];
  }
  return activities[verb];
}

/** `time` has milliseconds; the microseconds are in `unmapped` and `metadata.original_time`. */
function millisecondsOf(instant: string): number {
  return Math.floor((parseFineInstant(instant)?.micros ?? 0) / 1000);
}

const MAX_INTEGER = 2 ** 31 - 1;

/** `sequence` is an integer, which readers hold in 32 bits; a larger one is in `unmapped` alone. */
function sequenceOf({ sequence }: EventContent): number | undefined {
  const number = Number(sequence);
  return number <= MAX_INTEGER ? number : undefined;
}

const USER_TYPES: Record<string, Members> = {
  user: { type_id: 1, type: 'User' },
  system: { type_id: 3, type: 'System' },
};

function userOf({ principalId, principalName, principalType }: EventContent): Members | undefined {
  const named = present({ uid: principalId, name: principalName });
  if (!named) return undefined;
  const kind = principalType
    ? (USER_TYPES[principalType] ?? { type_id: OTHER, type: principalType })
    : {};
  return { ...named, ...kind };
}

function sessionOf({ sessionContext }: EventContent): Members | undefined {
  return present({ uid: sessionContext?.sessionId });
}

function actorOf(event: EventContent): Members | undefined {
  return present({ user: userOf(event), session: sessionOf(event) });
}

/** An IPv6 zone makes addresses longer than the type allows. */
const MAX_ADDRESS_LENGTH = 40;

function sourceEndpoint({ sessionContext }: EventContent): Members | undefined {
  const ipAddress = sessionContext?.ipAddress;
  if (!ipAddress) return undefined;
  const isAddress = isIP(ipAddress) !== 0 && ipAddress.length <= MAX_ADDRESS_LENGTH;
  return isAddress ? { ip: ipAddress } : { name: ipAddress };
}

function httpRequest({ sessionContext }: EventContent): Members | undefined {
  return present({ user_agent: sessionContext?.userAgent });
}

function resourcesOf(event: EventContent): Members[] | undefined {
  const named = targetsOf(event).flatMap(({ type, id, name }: EventTarget) =>
    present({ id, name }) ? [present({ uid: id, name, type }) ?? {}] : [],
  );
  return named.length === 0 ? undefined : named;
}
