import type { NewEvent } from './audit-event';
import { EVENT_FIELDS, type EventField } from './event-fields';

/** A timestamp in the form of the API: ISO 8601, UTC, microseconds. */
export function instantText(column: string): string {
  return `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/** A field of an event `e` as JSON. Where a text has nothing to escape, its quotes are part of the text around it. */
function jsonValue({ column, type, words, isNullable }: EventField): {
  sql: string;
  quote: string;
} {
  const cell = `e.${column}`;
  if (type === 'json') return { sql: `coalesce(${cell}::text, 'null')`, quote: '' };
  if (type === 'timestamptz') return { sql: instantText(cell), quote: '"' };
  if (type !== 'text' || words) return { sql: cell, quote: '"' };
  return {
    sql: isNullable ? `coalesce(to_json(${cell})::text, 'null')` : `to_json(${cell})`,
    quote: '',
  };
}

function jsonObject(fields: readonly EventField[]): string {
  let before = '{';
  const members = fields.map((field) => {
    const { sql, quote } = jsonValue(field);
    const member = `'${before}"${field.name}":${quote}' || ${sql}`;
    before = `${quote},`;
    return member;
  });
  return `\n  ${members.join('\n  || ')} || '${before.slice(0, -1)}}'`;
}

/**
 * An event `e` as JSON text, written out in audit.statements.spec.ts. Rows turned into text in Node cost five times the
 * processor time (640 against 125 µs for a page of 50, docs/architecture.md), row_to_json a third more (200 000 events
 * in 1.60 against 1.19 s). `eventText` in audit-event.ts makes the same bytes.
 */
export const EVENT_JSON = jsonObject(EVENT_FIELDS);

/**
 * Adds its number of new events to the head row of each organization and locks it until the commit, which makes
 * `sequence` gapless and its order the commit order. $1 must be sorted: every writer locks in the same order. The time
 * is taken once the row is locked; 0 locks a row unchanged.
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

/** A head row that is locked for longer belongs to a stuck transaction. */
const HEAD_LOCK_TIMEOUT_MS = 2000;
export const HEAD_LOCK_TIMEOUT = `SET LOCAL lock_timeout = ${HEAD_LOCK_TIMEOUT_MS}`;

/**
 * Which of these organizations have a head row that another transaction locks now. Row locks are written to WAL, so
 * this must not wait for a synchronous standby.
 */
export const heldHeads = (organizations: string[]) => ({
  name: 'audit-held-heads',
  text: `SELECT organization_id FROM set_config('synchronous_commit', 'local', true), audit_organization
         WHERE organization_id = ANY($1::text[])
           AND organization_id NOT IN (
             SELECT organization_id FROM audit_organization WHERE organization_id = ANY($1::text[])
             FOR UPDATE SKIP LOCKED)`,
  values: [organizations],
});

/** Timestamps of the client ids ($1) of organizations ($2) that were stored before. */
export const FIND_CLIENT_IDS = {
  name: 'audit-find-client-ids',
  text: `SELECT c.organization_id, c.id::text AS id, c.timestamp::text AS timestamp
         FROM unnest($1::uuid[], $2::text[]) AS t (id, organization_id)
         JOIN audit_client_event_id c ON c.id = t.id AND c.organization_id = t.organization_id COLLATE "C"`,
};

/** The ids ($1) of organizations ($2) that the service itself made: they carry their millisecond ($3 to $4). */
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
 * Stores ids that clients chose. One that exists has outlived its event (its partition was dropped): under the lock of
 * the head row, FIND_CLIENT_IDS and FIND_BY_KEYS have found no event with it.
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

/**
 * Columns that an event has before it has a sequence, in the order of the first parameters of INSERT; the primary key
 * is first.
 */
export const GIVEN_COLUMNS = EVENT_FIELDS.filter(
  (field): field is GivenField => !('isRecorded' in field),
)
  .sort((a, b) => rankOf(a) - rankOf(b))
  .map(({ name, column, type }): GivenColumn => [column, type, (event) => event[name]]);

type GivenColumn = [column: string, type: string, value: (event: NewEvent) => string | null];

const given = (text: (name: string, type: string, parameter: string) => string): string =>
  GIVEN_COLUMNS.map(([name, type], index) => text(name, type, `$${index + 1}`)).join(', ');

/** The nth parameter after those. */
const parameterAfter = (ordinal: number): string => `$${GIVEN_COLUMNS.length + ordinal}`;

const GIVEN = given((name) => name);
const GIVEN_VALUES = given((_, type, parameter) => `${parameter}::${type}`);
const GIVEN_ARRAYS = given((_, type, parameter) =>
  type === 'json' ? `string_to_array(${parameter}, E'\\x01', '')` : `${parameter}::${type}[]`,
);
/** The columns of rows `t` made of those arrays. */
const GIVEN_OF_ROWS = given((name, type) => (type === 'json' ? `t.${name}::json` : `t.${name}`));

/**
 * Stores events: an array for each column, so that the statement is the same for any number of rows. Each JSON column
 * is one text split at U+0001, which JSON text never holds: quotes would have to be escaped in an array literal.
 */
export const INSERT_EVENTS = {
  name: 'audit-insert-events',
  text: `INSERT INTO audit_event (${GIVEN}, sequence, recorded_at)
         SELECT ${GIVEN_OF_ROWS}, t.sequence, t.recorded_at
         FROM unnest(${GIVEN_ARRAYS}, ${parameterAfter(1)}::bigint[], ${parameterAfter(2)}::timestamptz[]) AS t (${GIVEN}, sequence, recorded_at)`,
};

/**
 * ADVANCE_HEADS and INSERT_EVENTS in one, for events that need no check: one round trip, and as a transaction its only
 * statement (docs/adr/0022-one-statement-for-plain-writes.md). After the columns come the number of later events of the
 * same organization; organizations, sorted, and their numbers of events. The lock timeout is set before the first row
 * is locked.
 */
export const RECORD_EVENTS = {
  name: 'audit-record-events',
  text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT id, n, clock_timestamp()
           FROM set_config('lock_timeout', '${HEAD_LOCK_TIMEOUT_MS}', true), unnest(${parameterAfter(2)}::text[], ${parameterAfter(3)}::bigint[]) AS t (id, n)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + excluded.last_sequence, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (${GIVEN}, sequence, recorded_at)
           SELECT ${GIVEN_OF_ROWS}, head.last_sequence - t.later, head.recorded_at
           FROM unnest(${GIVEN_ARRAYS}, ${parameterAfter(1)}::bigint[]) AS t (${GIVEN}, later)
           JOIN head ON head.organization_id = t.organization_id COLLATE "C"
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
};

/** The same for one event without arrays: 130 instead of 186 µs, the latency of a sequential client. */
export const RECORD_EVENT = {
  name: 'audit-record-event',
  text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT $1::text, 1, clock_timestamp() FROM set_config('lock_timeout', '${HEAD_LOCK_TIMEOUT_MS}', true)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + 1, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (${GIVEN}, sequence, recorded_at)
           SELECT ${GIVEN_VALUES}, last_sequence, recorded_at FROM head
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
};
