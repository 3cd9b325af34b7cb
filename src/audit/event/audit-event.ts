import { formatInstant, parseInstant } from '../../platform/runtime/instant';

/** What came of an action. */
export const EVENT_STATUSES = ['attempt', 'success', 'failure'] as const;
/** How sensitive the record is. */
export const DATA_CLASSIFICATIONS = ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'] as const;

export type EventStatus = (typeof EVENT_STATUSES)[number];
export type DataClassification = (typeof DATA_CLASSIFICATIONS)[number];

/** Characters of an id, a type or an action. */
export const MAX_NAME_LENGTH = 255;
/** Characters of free text. */
export const MAX_TEXT_LENGTH = 10_000;
/** UTF-8 bytes of minified metadata, and how deep it may nest (itself being level 1). */
export const MAX_METADATA_BYTES = 256 * 1024;
export const MAX_METADATA_DEPTH = 32;
/** How far a client's clock may run ahead of ours. */
export const MAX_AHEAD_MS = 5 * 60 * 1000;

/** The partitioned table that holds the events. */
export const EVENT_TABLE = 'audit_event';

/** An event ready to be stored: validated, with defaults, nothing left to interpret. */
export interface NewEvent {
  id: string;
  /** Whether the client chose the id; only then can it already exist. */
  hasClientId: boolean;
  /** ISO 8601, UTC, microseconds. */
  timestamp: string;
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
  /** Minified JSON text; every number as it was sent. */
  metadata: string | null;
}

/** What the database adds to an event when it records it. */
export interface Recording {
  sequence: string;
  /** ISO 8601, UTC, microseconds. */
  recordedAt: string;
}

/**
 * The JSON text of a recorded event: the same bytes that the SQL projection of audit.statements.ts makes of the stored
 * row, so that an event can be acknowledged without being read back. A test holds the two equal.
 */
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
    `{"id":"${event.id}","timestamp":"${event.timestamp}","recordedAt":"${recordedAt}",` +
    `"sequence":"${sequence}",${rest.slice(1, -1)},` +
    `"sessionContext":${event.sessionContext ?? 'null'},"metadata":${event.metadata ?? 'null'}}`
  );
}

/** PostgreSQL's text of a timestamptz (session in UTC, ISO) as the contract writes it. */
export function instantOfDatabase(text: string): string {
  const micros = parseInstant(text.replace(' ', 'T'));
  if (micros === undefined) throw new RangeError(`Not a timestamp of PostgreSQL: ${text}`);
  return formatInstant(micros);
}
