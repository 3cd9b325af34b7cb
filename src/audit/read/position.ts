import type { PoolClient } from 'pg';
import { AppError } from '../../platform/errors/app-error';
import { parseInstant } from '../../platform/runtime/instant';
import { uuid } from '../../validation/constraints';

/** Position of an event in an order: timestamp or sequence, then the tie-breakers. */
export interface Position {
  /** Of the column, with microseconds; `positionOf` has all digits of the event. */
  timestamp: string;
  sequence: string;
  id: string;
  organizationId: string;
  /** Recording time in positions by sequence; identifies the event. */
  recordedAt?: string;
  /** True where a list goes on with the event at this position, not with the one beyond. */
  isIncluded?: true;
}

export function logPositionOf({ sequence, recordedAt, id }: Position): LogPosition {
  const recordedMicros = recordedAt === undefined ? undefined : parseInstant(recordedAt);
  return { sequence: BigInt(sequence), recordedMicros, ...(id === '' ? {} : { id }) };
}

/** Position of an event. EVENT_JSON has these members first, and escapes quotes inside them. */
export function positionOf(eventText: string): Position {
  const head = eventText.slice(0, eventText.indexOf(',"principalId":'));
  const { timestamp, recordedAt, sequence, id, organizationId } = JSON.parse(
    `${head}}`,
  ) as Position;
  return { timestamp, recordedAt, sequence, id, organizationId };
}

/** Type guard for values from the shared cache. */
export function isPosition(value: unknown): value is Position {
  const { timestamp, recordedAt, sequence, id, organizationId } = (value ??
    {}) as Partial<Position>;
  return (
    // Positions cached by an earlier version have no recording time.
    (recordedAt === undefined || MICROSECOND_INSTANT.test(recordedAt)) &&
    typeof timestamp === 'string' &&
    MICROSECOND_INSTANT.test(timestamp) &&
    typeof sequence === 'string' &&
    /^\d{1,19}$/.test(sequence) &&
    uuid(id) === undefined &&
    typeof organizationId === 'string'
  );
}

const MICROSECOND_INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** A position in the log of an organization: the sequence of an event, and its identity. */
export interface LogPosition {
  /** 0 is before the first event. */
  readonly sequence: bigint;
  /** Recording time of that event, microseconds since 1970; undefined when not known. */
  readonly recordedMicros?: number;
  readonly id?: string;
}

export type LogPositions = Map<string, LogPosition>;

export const BEGINNING: LogPosition = { sequence: 0n };

const END = '9223372036854775807';

export interface StoredLog {
  /** The last sequence; 0 without events. */
  head: bigint;
  /** Last move of the head row (microseconds; 0: not known). Retention moves it too, forwards only. */
  headMicros: number;
  /** Last stored event up to the position: retention removes events, whose sequences stay unused. */
  nearest?: { sequence: bigint; recordedMicros: number; id: string };
}

/** `recorded_at` of `alias` in microseconds since 1970; 0 for -infinity. */
export function microsOf(alias: string): string {
  return `coalesce(extract(epoch FROM nullif(${alias}.recorded_at, '-infinity')) * 1000000, 0)::bigint`;
}

/** Head and last event up to these sequences, for organizations ($1). */
const FIND_STORED_LOGS = {
  name: 'audit-find-stored-logs',
  text: `SELECT t.organization_id, coalesce(o.last_sequence, 0)::text, coalesce(${microsOf('o')}, 0)::text,
                e.sequence::text, (${microsOf('e')})::text, e.id::text, pg_is_in_recovery()
         FROM unnest($1::text[], $2::bigint[]) AS t (organization_id, sequence)
         LEFT JOIN audit_organization o ON o.organization_id = t.organization_id COLLATE "C"
         LEFT JOIN LATERAL (
           SELECT e.sequence, e.recorded_at, e.id FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C" AND e.sequence <= t.sequence
           ORDER BY e.sequence DESC LIMIT 1
         ) e ON true`,
};

type StoredLogRow = [
  organizationId: string,
  head: string,
  headMicros: string,
  sequence: string | null,
  micros: string,
  id: string,
  isInRecovery: boolean,
];

/** Heads and nearest events of organizations at these sequences; `isInRecovery`: the server may lag. */
export async function findStoredLogs(
  client: PoolClient,
  organizations: readonly string[],
  sequences: readonly string[],
): Promise<{ logs: Map<string, StoredLog>; isInRecovery: boolean }> {
  const { rows } = await client.query<StoredLogRow>({
    ...FIND_STORED_LOGS,
    values: [organizations, sequences],
    rowMode: 'array',
  });
  const logs = new Map<string, StoredLog>();
  for (const [organizationId, head, headMicros, sequence, micros, id] of rows) {
    const nearest =
      sequence === null
        ? undefined
        : { sequence: BigInt(sequence), recordedMicros: Number(micros), id };
    logs.set(organizationId, { head: BigInt(head), headMicros: Number(headMicros), nearest });
  }
  return { logs, isInRecovery: rows[0]?.[6] ?? false };
}

/**
 * Last positions with their events' identity, by one statement over all partitions. Where retention has removed the
 * event, the head row's recording time stands in, which is never earlier.
 */
export async function findLastPositions(
  client: PoolClient,
  organizations: readonly string[],
): Promise<LogPositions> {
  const ends = organizations.map(() => END);
  const { logs } = await findStoredLogs(client, organizations, ends);
  return new Map([...logs].map(([id, log]) => [id, lastPositionOf(log)]));
}

function lastPositionOf({ head, headMicros, nearest }: StoredLog): LogPosition {
  const micros = nearest?.sequence === head ? nearest.recordedMicros : headMicros;
  return { sequence: head, ...(micros === 0 ? {} : { recordedMicros: micros }) };
}

/** A position of another timeline, and where the log of its organization ends. */
export interface ForeignPosition {
  organizationId: string;
  sequence: bigint;
  /** The last sequence; 0 without events. Undefined where it was not read. */
  head?: bigint;
}

/** Positions of another timeline, in the snapshot of one statement. */
export interface ForeignPositions {
  positions: ForeignPosition[];
  /** True on a server that replays another one's log, which it may lag. */
  isInRecovery: boolean;
}

/**
 * Finds positions of another timeline, after a read from them or in its snapshot: the head row lock makes a server's
 * history linear, so a position that holds later held during the read.
 */
export async function findForeignPositions(
  client: PoolClient,
  positions: ReadonlyMap<string, LogPosition>,
): Promise<ForeignPositions> {
  const named = [...positions].filter(([, { sequence }]) => sequence > 0n);
  if (named.length === 0) return NOTHING_FOREIGN;
  const ids = named.map(([id]) => id);
  const sequences = named.map(([, { sequence }]) => String(sequence));
  const { logs, isInRecovery } = await findStoredLogs(client, ids, sequences);
  const foreign = named.flatMap(([organizationId, position]) => {
    const log = logs.get(organizationId) ?? { head: 0n, headMicros: 0 };
    const { sequence } = position;
    return isOfLog(position, log) ? [] : [{ organizationId, sequence, head: log.head }];
  });
  return { positions: foreign, isInRecovery };
}

export const NOTHING_FOREIGN: ForeignPositions = { positions: [], isInRecovery: false };

/**
 * Checks that a log has a position's history. Where retention has removed its event, the one before must not be
 * recorded later, as reassigned sequences are.
 */
export function isOfLog({ sequence, recordedMicros, id }: LogPosition, log: StoredLog): boolean {
  const { head, nearest } = log;
  if (sequence === 0n) return true;
  if (sequence > head) return false;
  if (!nearest) return true;
  if (nearest.sequence !== sequence) {
    return recordedMicros === undefined || nearest.recordedMicros <= recordedMicros;
  }
  if (recordedMicros === undefined) return id === undefined || nearest.id === id;
  return nearest.recordedMicros === recordedMicros;
}

/**
 * The error for a position or feed of another timeline. The reader must have the right to see `organizationId`, whose
 * last sequence the message names.
 */
export function timelineChanged({ organizationId, sequence, head }: ForeignPosition): AppError {
  const log = `log of the organization ${JSON.stringify(organizationId)}`;
  const isAhead = head !== undefined && sequence > head;
  const found = isAhead
    ? `The position is ahead of the ${log}: there is no event ${sequence}`
    : `The ${log} is on another timeline: its event ${sequence} is not the one of this position, or there is none`;
  const end = head === 0n ? ' It has no events.' : ` Its last event is ${head}.`;
  return new AppError(
    'TIMELINE_CHANGED',
    `${found} (the database lost commits in a failover or a restore, or the number was never given).${head === undefined ? '' : end} ` +
      'Begin again from a position that still exists, or, one organization at a time, from 0.',
  );
}

export function notYetPrimary(): AppError {
  return new AppError(
    'DATABASE_UNAVAILABLE',
    'The database is a standby that has not been promoted.',
    { retryAfterSeconds: 1 },
  );
}
