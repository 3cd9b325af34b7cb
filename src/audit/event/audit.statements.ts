import {
  EVENT_FIELDS,
  type EventField,
  isPlain,
  type NewEvent,
  type Recording,
} from './audit-event';

const MICROS_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US';

/** A timestamp in the form of the API: ISO 8601, UTC, microseconds. */
export function instantText(column: string): string {
  return `to_char(${column}, '${MICROS_FORMAT}"Z"')`;
}

/** A field of an event `e` that is a timestamp, in the form of the API without the `Z`. */
function instantDigits({ column, submicros }: EventField): string {
  const digits = `to_char(e.${column}, '${MICROS_FORMAT}')`;
  return submicros ? `${digits} || ${orEmpty(submicros)}` : digits;
}

/** A field of an event `e` that is a timestamp, in the form of the API. */
export function fieldInstantText(field: EventField): string {
  return field.submicros ? `${instantDigits(field)} || 'Z'` : instantText(`e.${field.column}`);
}

function orEmpty({ column }: { column: string }): string {
  return `coalesce(e.${column}, '')`;
}

/** A field of an event `e` as JSON. What precedes and follows it is part of the text around it. */
function jsonValue(field: EventField): { sql: string; before: string; after: string } {
  const { column, type, words, isNullable, submicros } = field;
  const cell = `e.${column}`;
  const quoted = { before: '"', after: '"' };
  const bare = { before: '', after: '' };
  if (type === 'json') return { sql: `coalesce(${cell}::text, 'null')`, ...bare };
  if (submicros) return { sql: instantDigits(field), before: '"', after: 'Z"' };
  if (type === 'timestamptz') return { sql: instantText(cell), ...quoted };
  if (type !== 'text' || words) return { sql: cell, ...quoted };
  return {
    sql: isNullable ? `coalesce(to_json(${cell})::text, 'null')` : `to_json(${cell})`,
    ...bare,
  };
}

function jsonObject(fields: readonly EventField[]): string {
  let between = '{';
  const members = fields
    .filter(({ isSparse }) => !isSparse)
    .map((field) => {
      const { sql, before, after } = jsonValue(field);
      const member = `'${between}"${field.name}":${before}' || ${sql}`;
      between = `${after},`;
      return member;
    });
  const sparse = fields.filter(({ isSparse }) => isSparse);
  const end = `'${between.slice(0, -1)}}'`;
  const cells = sparse.map(({ column }) => `e.${column}`).join(', ');
  const given = sparse.map(sparseMember).join('\n    || ');
  return `\n  ${members.join('\n  || ')}\n  || CASE WHEN (${cells}) IS NULL THEN ${end} ELSE ${given} || ${end} END`;
}

/** Empty where the event has no such member. One concatenation for each would cost every event a copy of its text. */
function sparseMember({ name, column, type }: EventField): string {
  const value = type === 'json' ? `e.${column}::text` : `to_json(e.${column})::text`;
  return `coalesce(',"${name}":' || ${value}, '')`;
}

/**
 * An event `e` as JSON text, as `eventText` in audit-event.ts makes it. Conversion in Node costs five times the
 * processor time (640 against 125 µs for a page of 50, docs/architecture.md), row_to_json a third more (200 000 events
 * in 1.60 against 1.19 s).
 */
export const EVENT_JSON = jsonObject(EVENT_FIELDS);

/**
 * Adds new events to each organization's head row and locks it until the commit: `sequence` is gapless, in commit
 * order. $1 must be sorted, as all writers lock in that order. The time is taken under the lock; 0 only locks.
 */
export const ADVANCE_HEADS = {
  name: 'audit-advance-heads',
  text: `INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
         SELECT id, n, CASE WHEN n > 0 THEN clock_timestamp() ELSE '-infinity' END
         FROM unnest($1::text[], $2::bigint[]) AS t (id, n)
         ON CONFLICT (organization_id) DO UPDATE SET
           last_sequence = o.last_sequence + excluded.last_sequence,
           recorded_at = CASE WHEN excluded.last_sequence > 0 THEN clock_timestamp() ELSE o.recorded_at END
         RETURNING organization_id, last_sequence::text, recorded_at::text`,
};

/** Limit after which a locked head row belongs to a stuck transaction. */
const HEAD_LOCK_TIMEOUT_MS = 2000;
export const HEAD_LOCK_TIMEOUT = `SET LOCAL lock_timeout = ${HEAD_LOCK_TIMEOUT_MS}`;

/** Organizations with a locked head row. Row locks are written to WAL: this must not wait for a synchronous standby. */
export const heldHeads = (organizations: string[]) => ({
  name: 'audit-held-heads',
  text: `SELECT organization_id FROM set_config('synchronous_commit', 'local', true), audit_organization
         WHERE organization_id = ANY($1::text[])
           AND organization_id NOT IN (
             SELECT organization_id FROM audit_organization WHERE organization_id = ANY($1::text[])
             FOR UPDATE SKIP LOCKED)`,
  values: [organizations],
});

/** Timestamps of stored client ids ($1) of organizations ($2). */
export const FIND_CLIENT_IDS = {
  name: 'audit-find-client-ids',
  text: `SELECT c.organization_id, c.id::text AS id, c.timestamp::text AS timestamp
         FROM unnest($1::uuid[], $2::text[]) AS t (id, organization_id)
         JOIN audit_client_event_id c ON c.id = t.id AND c.organization_id = t.organization_id COLLATE "C"`,
};

/** Stored service-made ids ($1) of organizations ($2): they carry their millisecond ($3 to $4). */
export const FIND_SERVER_IDS = {
  name: 'audit-find-server-ids',
  text: `SELECT e.organization_id, e.id::text AS id, e.timestamp::text AS timestamp
         FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS t (id, organization_id, low, high)
         CROSS JOIN LATERAL (
           SELECT * FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C"
             AND e.timestamp >= t.low AND e.timestamp < t.high AND e.id = t.id
         ) e`,
};

/** The events with these keys: organizations ($1), timestamps ($2), ids ($3). */
export const FIND_BY_KEYS = {
  name: 'audit-find-by-keys',
  text: `SELECT e.organization_id, e.id::text AS id, ${EVENT_JSON} AS json
         FROM unnest($1::text[], $2::timestamptz[], $3::uuid[]) AS t (organization_id, timestamp, id)
         CROSS JOIN LATERAL (
           SELECT * FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C" AND e.timestamp = t.timestamp AND e.id = t.id
         ) e`,
};

/**
 * Stores client ids. An existing one has outlived its event (a dropped partition): FIND_CLIENT_IDS and FIND_BY_KEYS
 * found none under the head row lock.
 */
export const INSERT_CLIENT_IDS = {
  name: 'audit-insert-client-ids',
  text: `INSERT INTO audit_client_event_id (id, organization_id, timestamp)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
         ON CONFLICT (id, organization_id) DO UPDATE SET timestamp = excluded.timestamp`,
};

type GivenField = Exclude<(typeof EVENT_FIELDS)[number], { isRecorded: true }>;

const KEY: readonly string[] = ['organizationId', 'timestamp', 'id'];
const rankOf = ({ name }: EventField) => (KEY.includes(name) ? KEY.indexOf(name) : KEY.length);

const GIVEN_FIELDS = EVENT_FIELDS.filter((field): field is GivenField => !('isRecorded' in field));

type GivenColumn = [column: string, type: string, value: (event: NewEvent) => string | null];

const columnOf = ({ name, column, type }: GivenField): GivenColumn => [
  column,
  type,
  (event) => event[name],
];

/** Columns of a plain event, in the order of the first parameters of INSERT; the primary key is first. */
const PLAIN_COLUMNS: readonly GivenColumn[] = [
  ...GIVEN_FIELDS.filter((field) => !('isSparse' in field))
    .sort((a, b) => rankOf(a) - rankOf(b))
    .map(columnOf),
  ...GIVEN_FIELDS.flatMap(({ submicros }: EventField): GivenColumn[] =>
    submicros ? [[submicros.column, 'text', (event) => event[submicros.name]]] : [],
  ),
];

const ALL_COLUMNS: readonly GivenColumn[] = [
  ...PLAIN_COLUMNS,
  ...GIVEN_FIELDS.filter((field) => 'isSparse' in field).map(columnOf),
];

interface NamedStatement {
  name: string;
  text: string;
}

/** The statements that write the given columns of events, and these beside their numbers. */
interface WriteStatements {
  columns: readonly GivenColumn[];
  insertEvents: NamedStatement;
  recordEvents: NamedStatement;
  recordEvent: NamedStatement;
}

function writeStatements(columns: readonly GivenColumn[], kind: string): WriteStatements {
  const list = (text: (name: string, type: string, parameter: string) => string): string =>
    columns.map(([name, type], index) => text(name, type, `$${index + 1}`)).join(', ');
  const after = (ordinal: number): string => `$${columns.length + ordinal}`;
  const names = list((name) => name);
  const values = list((_, type, parameter) => `${parameter}::${type}`);
  // A JSON column is one text split at U+0001, which JSON text never holds: array literals need escaped quotes.
  const arrays = list((_, type, parameter) =>
    type === 'json' ? `string_to_array(${parameter}, E'\\x01', '')` : `${parameter}::${type}[]`,
  );
  const ofRows = list((name, type) => (type === 'json' ? `t.${name}::json` : `t.${name}`));
  return {
    columns,
    // From an array per column, for any number of rows.
    insertEvents: {
      name: `audit-insert-${kind}`,
      text: `INSERT INTO audit_event (${names}, sequence, recorded_at)
         SELECT ${ofRows}, t.sequence, t.recorded_at
         FROM unnest(${arrays}, ${after(1)}::bigint[], ${after(2)}::timestamptz[]) AS t (${names}, sequence, recorded_at)`,
    },
    // ADVANCE_HEADS and the insert in one round trip, for events without checks
    // (docs/adr/0022-one-statement-for-plain-writes.md). Further parameters: the number of later events of the same
    // organization; organizations, sorted, and their numbers of events. The lock timeout is set before the first lock.
    recordEvents: {
      name: `audit-record-${kind}`,
      text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT id, n, clock_timestamp()
           FROM set_config('lock_timeout', '${HEAD_LOCK_TIMEOUT_MS}', true), unnest(${after(2)}::text[], ${after(3)}::bigint[]) AS t (id, n)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + excluded.last_sequence, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (${names}, sequence, recorded_at)
           SELECT ${ofRows}, head.last_sequence - t.later, head.recorded_at
           FROM unnest(${arrays}, ${after(1)}::bigint[]) AS t (${names}, later)
           JOIN head ON head.organization_id = t.organization_id COLLATE "C"
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
    },
    // The same for one event without arrays: 130 instead of 186 µs, the latency of a sequential client.
    recordEvent: {
      name: `audit-record-one-of-${kind}`,
      text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT $1::text, 1, clock_timestamp() FROM set_config('lock_timeout', '${HEAD_LOCK_TIMEOUT_MS}', true)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + 1, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (${names}, sequence, recorded_at)
           SELECT ${values}, last_sequence, recorded_at FROM head
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
    },
  };
}

/**
 * Events without sparse members, most of them, are written without these columns: even a null column costs some
 * microseconds a row.
 */
export const PLAIN_WRITES = writeStatements(PLAIN_COLUMNS, 'events');
export const FULL_WRITES = writeStatements(ALL_COLUMNS, 'full-events');

function writesOf(events: readonly NewEvent[]): WriteStatements {
  return events.every(isPlain) ? PLAIN_WRITES : FULL_WRITES;
}

export interface NumberedEvent extends Recording {
  event: NewEvent;
}

const JSON_SEPARATOR = '\u0001';

export interface BoundStatement extends NamedStatement {
  values: (string | null)[];
}

/** The statement that stores numbered events. */
export function insertEvents(rows: NumberedEvent[]): BoundStatement {
  const events = rows.map(({ event }) => event);
  const { columns, insertEvents: statement } = writesOf(events);
  return {
    ...statement,
    values: [
      ...arraysOf(columns, [givenElements(columns, events)]),
      arrayLiteral(rows.map(({ sequence }) => sequence)),
      arrayLiteral(rows.map(({ recordedAt }) => recordedAt)),
    ],
  };
}

/** The statement that numbers and stores one event. */
export function recordEvent(event: NewEvent): BoundStatement {
  const { columns, recordEvent: statement } = isPlain(event) ? PLAIN_WRITES : FULL_WRITES;
  return { ...statement, values: columns.map(([, , value]) => value(event)) };
}

/** Events per portion: a millisecond or two. */
const PORTION_EVENTS = 250;

/**
 * The statement that numbers and stores events. Its values are made in portions with `pause` between; `counts` is by
 * organization in lock order.
 */
export async function recordEvents(
  events: NewEvent[],
  counts: Map<string, number>,
  pause?: () => Promise<void>,
): Promise<BoundStatement> {
  const { columns, recordEvents: statement } = writesOf(events);
  const left = new Map(counts);
  const later = events.map(({ organizationId }) => {
    const rest = (left.get(organizationId) ?? 0) - 1;
    left.set(organizationId, rest);
    return String(rest);
  });
  const portions: string[][] = [];
  const portionEvents = pause ? PORTION_EVENTS : events.length;
  for (let from = 0; from < events.length; from += portionEvents) {
    if (from > 0) await pause?.();
    portions.push(givenElements(columns, events.slice(from, from + portionEvents)));
  }
  return {
    ...statement,
    values: [
      ...arraysOf(columns, portions),
      arrayLiteral(later),
      arrayLiteral([...counts.keys()]),
      arrayLiteral([...counts.values()].map(String)),
    ],
  };
}

function givenElements(columns: readonly GivenColumn[], events: NewEvent[]): string[] {
  return columns.map(([, type, value]) =>
    type === 'json'
      ? events.map((event) => value(event) ?? '').join(JSON_SEPARATOR)
      : arrayElements(events.map(value)),
  );
}

function arraysOf(columns: readonly GivenColumn[], portions: string[][]): string[] {
  return columns.map(([, type], column) => {
    const parts = portions.map((elements) => elements[column] ?? '');
    return type === 'json' ? parts.join(JSON_SEPARATOR) : `{${parts.join(',')}}`;
  });
}

const NEEDS_ESCAPE = /["\\]/;

/**
 * PostgreSQL array literal, in a third of the driver's time: most values need no escapes.
 * https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function arrayLiteral(values: (string | null)[]): string {
  return `{${arrayElements(values)}}`;
}

function arrayElements(values: (string | null)[]): string {
  const elements = values.map((value) => {
    if (value === null) return 'NULL';
    return NEEDS_ESCAPE.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : `"${value}"`;
  });
  return elements.join(',');
}
