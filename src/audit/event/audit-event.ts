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
  /** Column of the digits after the microsecond, NULL where they are zeros (docs/adr/0042). */
  submicros?: { name: 'timestampSubmicros'; column: string };
  /** Comparison of two events with one id: exact, or by JSON value. */
  comparison?: 'exact' | 'json';
}

const TEXT = { type: 'text', comparison: 'exact' } as const;
const OPTIONAL_TEXT = { ...TEXT, isNullable: true } as const;
const OPTIONAL_JSON = { type: 'json', comparison: 'json', isNullable: true } as const;

/** Fields of an event in the order of its JSON text; source of SELECT and INSERT lists, CSV and filters. */
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
}

export interface Recording {
  sequence: string;
  recordedAt: string;
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
    `"sessionContext":${event.sessionContext ?? 'null'},"metadata":${event.metadata ?? 'null'}}`
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
