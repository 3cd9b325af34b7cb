import { formatInstant, parseInstant, withSubmicros } from '../../platform/runtime/instant';

export const EVENT_STATUSES = ['attempt', 'success', 'failure'] as const;
export const DATA_CLASSIFICATIONS = ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'] as const;

export type EventStatus = (typeof EVENT_STATUSES)[number];
export type DataClassification = (typeof DATA_CLASSIFICATIONS)[number];

/** Limit in characters of an id, a type or an action. */
export const MAX_NAME_LENGTH = 255;
export const MAX_TEXT_LENGTH = 10_000;
/** Limits of minified metadata: UTF-8 bytes, and nesting (itself being level 1). */
export const MAX_METADATA_BYTES = 256 * 1024;
export const MAX_METADATA_DEPTH = 32;
/** Limit in characters of a kind of principal (`user`, `service`). */
export const MAX_KIND_LENGTH = 64;
export const MAX_TARGETS = 100;
export const MAX_CHANGES = 1000;
/** Limit in characters of the path of a change. */
export const MAX_PATH_LENGTH = 1024;
/** Limits of minified changes: UTF-8 bytes, and nesting (the list being level 1). */
export const MAX_CHANGES_BYTES = 256 * 1024;
export const MAX_CHANGES_DEPTH = 32;
/** Limit in characters of the version of a schema. */
export const MAX_VERSION_LENGTH = 32;
/** Tolerance for a client's clock that is ahead. */
export const MAX_AHEAD_MS = 5 * 60 * 1000;

export const EVENT_TABLE = 'audit_event';

/** A member of an event's JSON text, a column of its table and a cell of its CSV row. */
export interface EventField {
  name: string;
  column: string;
  type: 'uuid' | 'timestamptz' | 'bigint' | 'text' | 'json';
  /** Allowed values of a text; absent for any text. */
  words?: readonly string[];
  isNullable?: true;
  isRecorded?: true;
  /** True for a member that JSON text has only where it was given (docs/adr/0054). */
  isSparse?: true;
  /** Column of the digits after the microsecond, NULL where they are zeros (docs/adr/0042). */
  submicros?: { name: 'timestampSubmicros'; column: string };
  /** Comparison of two events with one id: exact, or by JSON value. */
  comparison?: 'exact' | 'json';
}

const TEXT = { type: 'text', comparison: 'exact' } as const;
const OPTIONAL_TEXT = { ...TEXT, isNullable: true } as const;
const OPTIONAL_JSON = { type: 'json', comparison: 'json', isNullable: true } as const;
const SPARSE_TEXT = { ...OPTIONAL_TEXT, isSparse: true } as const;
const SPARSE_JSON = { ...OPTIONAL_JSON, isSparse: true } as const;

/**
 * Fields of an event in the order of its JSON text; source of SELECT and INSERT lists, CSV and filters. Sparse ones are
 * the last.
 */
export const EVENT_FIELDS = [
  { name: 'id', column: 'id', type: 'uuid' },
  {
    name: 'timestamp',
    column: 'timestamp',
    type: 'timestamptz',
    submicros: { name: 'timestampSubmicros', column: 'timestamp_submicros' },
  },
  { name: 'recordedAt', column: 'recorded_at', type: 'timestamptz', isRecorded: true },
  { name: 'sequence', column: 'sequence', type: 'bigint', isRecorded: true },
  { name: 'organizationId', column: 'organization_id', ...TEXT },
  { name: 'principalId', column: 'principal_id', ...OPTIONAL_TEXT },
  { name: 'action', column: 'action', ...TEXT },
  { name: 'targetResourceType', column: 'target_resource_type', ...OPTIONAL_TEXT },
  { name: 'targetResourceId', column: 'target_resource_id', ...OPTIONAL_TEXT },
  { name: 'status', column: 'status', ...TEXT, words: EVENT_STATUSES },
  { name: 'outcomeDescription', column: 'outcome_description', ...OPTIONAL_TEXT },
  {
    name: 'dataClassification',
    column: 'data_classification',
    ...TEXT,
    words: DATA_CLASSIFICATIONS,
  },
  { name: 'correlationId', column: 'correlation_id', ...OPTIONAL_TEXT },
  { name: 'sessionContext', column: 'session_context', ...OPTIONAL_JSON },
  { name: 'metadata', column: 'metadata', ...OPTIONAL_JSON },
  { name: 'principalType', column: 'principal_type', ...SPARSE_TEXT },
  { name: 'principalName', column: 'principal_name', ...SPARSE_TEXT },
  { name: 'targets', column: 'targets', ...SPARSE_JSON },
  { name: 'changes', column: 'changes', ...SPARSE_JSON },
  { name: 'source', column: 'source', ...SPARSE_JSON },
  { name: 'schemaVersion', column: 'schema_version', ...SPARSE_TEXT },
] as const satisfies readonly EventField[];

/** A validated event with defaults. */
export interface NewEvent {
  id: string;
  /** Only a client's id can exist already. */
  hasClientId: boolean;
  /** ISO 8601, UTC, microseconds. */
  timestamp: string;
  /** The digits of its second after the sixth, if any. */
  timestampSubmicros: string | null;
  hasClientTimestamp: boolean;
  organizationId: string;
  principalId: string | null;
  action: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  status: EventStatus;
  outcomeDescription: string | null;
  dataClassification: DataClassification;
  correlationId: string | null;
  /** Minified JSON text. */
  sessionContext: string | null;
  /** Minified JSON text; numbers as sent. */
  metadata: string | null;
  principalType: string | null;
  principalName: string | null;
  /** Minified JSON text; the first one is also in `targetResourceType` and `targetResourceId`. */
  targets: string | null;
  /** Minified JSON text; numbers as sent. */
  changes: string | null;
  /** Minified JSON text. */
  source: string | null;
  schemaVersion: string | null;
}

export interface Recording {
  sequence: string;
  recordedAt: string;
}

/** True for an event without sparse members. */
export function isPlain(event: NewEvent): boolean {
  return (
    event.principalType === null &&
    event.principalName === null &&
    event.targets === null &&
    event.changes === null &&
    event.source === null &&
    event.schemaVersion === null
  );
}

/** JSON text of a recorded event, the bytes of EVENT_JSON without a read; event-text.spec.ts compares them. */
export function eventText(event: NewEvent, { sequence, recordedAt }: Recording): string {
  const rest = JSON.stringify({
    organizationId: event.organizationId,
    principalId: event.principalId,
    action: event.action,
    targetResourceType: event.targetResourceType,
    targetResourceId: event.targetResourceId,
    status: event.status,
    outcomeDescription: event.outcomeDescription,
    dataClassification: event.dataClassification,
    correlationId: event.correlationId,
  });
  return (
    `{"id":"${event.id}","timestamp":"${timestampText(event)}","recordedAt":"${recordedAt}",` +
    `"sequence":"${sequence}",${rest.slice(1, -1)},` +
    `"sessionContext":${event.sessionContext ?? 'null'},"metadata":${event.metadata ?? 'null'}` +
    `${isPlain(event) ? '' : sparseText(event)}}`
  );
}

function sparseText(event: NewEvent): string {
  const member = (name: string, text: string | null) => (text === null ? '' : `,"${name}":${text}`);
  const quoted = (text: string | null) => (text === null ? null : JSON.stringify(text));
  return (
    member('principalType', quoted(event.principalType)) +
    member('principalName', quoted(event.principalName)) +
    member('targets', event.targets) +
    member('changes', event.changes) +
    member('source', event.source) +
    member('schemaVersion', quoted(event.schemaVersion))
  );
}

/** The timestamp with all its digits. */
export function timestampText({ timestamp, timestampSubmicros }: NewEvent): string {
  return withSubmicros(timestamp, timestampSubmicros);
}

/** Converts PostgreSQL's text of a timestamptz (session in UTC, ISO) to the form of the API. */
export function instantOfDatabase(text: string): string {
  const micros = parseInstant(text.replace(' ', 'T'));
  if (micros === undefined) throw new RangeError(`Not a timestamp of PostgreSQL: ${text}`);
  return formatInstant(micros);
}

export const EVENTS_PATH = '/api/v1/audit/events';

/** The URL of an event. */
export function eventLocation(id: string): string {
  return `${EVENTS_PATH}/${id}`;
}

/** The id in the URL of an event. */
export function idOfLocation(location: string): string {
  return location.slice(EVENTS_PATH.length + 1);
}
