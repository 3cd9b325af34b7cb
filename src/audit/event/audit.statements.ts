import type { NewEvent } from './audit-event';

/** A column as JSON: text quoted and escaped, NULL as null. */
const json = (column: string) => `coalesce(to_json(e.${column})::text, 'null')`;

/**
 * An event `e` as JSON text: camelCase names, fixed order, microseconds. Page, detail and exports are made of this one
 * projection by PostgreSQL itself; turning rows into objects and text in Node costs five times the processor time
 * (640 µs against 125 µs for a page of 50, docs/architecture.md). Put together by hand it takes three quarters of what
 * row_to_json takes (200 000 events in 1.19 and 1.60 s). `eventText` in audit-event.ts makes the same bytes.
 */
export const EVENT_JSON = `
  '{"id":"' || e.id
  || '","timestamp":"' || to_char(e.timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  || '","recordedAt":"' || to_char(e.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  || '","sequence":"' || e.sequence
  || '","organizationId":' || to_json(e.organization_id)
  || ',"principalId":' || ${json('principal_id')}
  || ',"action":' || to_json(e.action)
  || ',"targetResourceType":' || ${json('target_resource_type')}
  || ',"targetResourceId":' || ${json('target_resource_id')}
  || ',"status":"' || e.status
  || '","outcomeDescription":' || ${json('outcome_description')}
  || ',"dataClassification":"' || e.data_classification
  || '","correlationId":' || ${json('correlation_id')}
  || ',"sessionContext":' || coalesce(e.session_context::text, 'null')
  || ',"metadata":' || coalesce(e.metadata::text, 'null') || '}'`;

const instant = (column: string) => `to_char(e.${column}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const asIs = (column: string) => `e.${column}`;

/** = + - @, tab, carriage return, line feed, and the full-width = + - @ that some spreadsheets take for the same. */
const FORMULA_STARTS = [61, 43, 45, 64, 9, 13, 10, 0xff1d, 0xff0b, 0xff0d, 0xff20].join(', ');

/**
 * A cell that a spreadsheet would take for a formula begins with an apostrophe instead (OWASP, CSV injection). In UTF-8,
 * ascii() is the code point of the first character.
 */
const neutral = (column: string) =>
  `CASE WHEN ascii(e.${column}) IN (${FORMULA_STARTS}) THEN '''' || e.${column} ELSE e.${column} END`;

/** The columns of an event as CSV, in the order of EVENT_JSON; `cell` makes those that hold text of a client's. */
const csvColumns = (cell: (column: string) => string): [string, string][] => [
  ['id', 'e.id'],
  ['timestamp', instant('timestamp')],
  ['recordedAt', instant('recorded_at')],
  ['sequence', 'e.sequence'],
  ['organizationId', cell('organization_id')],
  ['principalId', cell('principal_id')],
  ['action', cell('action')],
  ['targetResourceType', cell('target_resource_type')],
  ['targetResourceId', cell('target_resource_id')],
  ['status', 'e.status'],
  ['outcomeDescription', cell('outcome_description')],
  ['dataClassification', 'e.data_classification'],
  ['correlationId', cell('correlation_id')],
  ['sessionContext', 'e.session_context'],
  ['metadata', 'e.metadata'],
];

/** The names of the columns of CSV_VALUES. */
export const CSV_COLUMNS = csvColumns(asIs).map(([name]) => name);
/** An event `e` as the cells of a CSV row, with exactly what EVENT_JSON holds; JSON objects begin with { and are safe. */
export const CSV_VALUES = csvColumns(asIs)
  .map(([, cell]) => cell)
  .join(', ');
/** The same for spreadsheets. */
export const NEUTRAL_CSV_VALUES = csvColumns(neutral)
  .map(([, cell]) => cell)
  .join(', ');

/**
 * Moves the head row of each organization on by its number of new events and locks it until the commit, which makes
 * `sequence` gapless and its order the commit order. $1 must be sorted: every writer locks in the same order. The time
 * of recording is taken once the row is locked; moved on by 0, a row is locked and keeps what it has.
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

/** No longer than this for a head row: who holds one for seconds is stuck, and others must not wait for it. */
const HEAD_LOCK_TIMEOUT_MS = 2000;
export const HEAD_LOCK_TIMEOUT = `SET LOCAL lock_timeout = ${HEAD_LOCK_TIMEOUT_MS}`;

/**
 * Which of these organizations have a head row that another transaction holds right now. Locks are written to the log,
 * and the answer is not to wait for a synchronous standby.
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

/** Where client ids ($1) of organizations ($2) were stored before. */
export const FIND_CLIENT_IDS = {
  name: 'audit-find-client-ids',
  text: `SELECT c.organization_id, c.id::text AS id, c.timestamp::text AS timestamp
         FROM unnest($1::uuid[], $2::text[]) AS t (id, organization_id)
         JOIN audit_client_event_id c ON c.id = t.id AND c.organization_id = t.organization_id COLLATE "C"`,
};

/** Which ids ($1) of organizations ($2) the service itself once made: those carry their millisecond ($3 to $4). */
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

/** The events with exactly these keys: organizations ($1), timestamps ($2), ids ($3). */
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
 * Remembers the ids that clients chose. One that is there already has outlived its event (its partition was dropped):
 * under the lock of the head row, FIND_CLIENT_IDS and FIND_BY_KEYS have found no event that has it.
 */
export const INSERT_CLIENT_IDS = {
  name: 'audit-insert-client-ids',
  text: `INSERT INTO audit_client_event_id (id, organization_id, timestamp)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
         ON CONFLICT (id, organization_id) DO UPDATE SET timestamp = excluded.timestamp`,
};

type GivenColumn = [name: string, type: string, value: (event: NewEvent) => string | null];

/** What an event has before it is numbered, in the order of the first parameters of the statements that store events. */
export const GIVEN_COLUMNS: GivenColumn[] = [
  ['organization_id', 'text', (event) => event.organizationId],
  ['timestamp', 'timestamptz', (event) => event.timestamp],
  ['id', 'uuid', (event) => event.id],
  ['principal_id', 'text', (event) => event.principalId],
  ['action', 'text', (event) => event.action],
  ['target_resource_type', 'text', (event) => event.targetResourceType],
  ['target_resource_id', 'text', (event) => event.targetResourceId],
  ['status', 'text', (event) => event.status],
  ['outcome_description', 'text', (event) => event.outcomeDescription],
  ['data_classification', 'text', (event) => event.dataClassification],
  ['correlation_id', 'text', (event) => event.correlationId],
  ['session_context', 'json', (event) => event.sessionContext],
  ['metadata', 'json', (event) => event.metadata],
];

const given = (text: (name: string, type: string, parameter: string) => string): string =>
  GIVEN_COLUMNS.map(([name, type], index) => text(name, type, `$${index + 1}`)).join(', ');

/** The first, second, … parameter behind those. */
const behindGiven = (place: number): string => `$${GIVEN_COLUMNS.length + place}`;

const GIVEN = given((name) => name);
/** The parameters, when they are of one event. */
const GIVEN_VALUES = given((_, type, parameter) => `${parameter}::${type}`);
/** The parameters, when they are of many: see INSERT_EVENTS. */
const GIVEN_ARRAYS = given((_, type, parameter) =>
  type === 'json' ? `string_to_array(${parameter}, E'\\x01', '')` : `${parameter}::${type}[]`,
);
/** The columns of rows `t` made of those arrays. */
const GIVEN_OF_ROWS = given((name, type) => (type === 'json' ? `t.${name}::json` : `t.${name}`));

/**
 * Stores events: one array a column, so that the statement is the same for any number of rows. The two JSON columns
 * come as one text each, cut at U+0001: JSON text never holds a raw control character, and neither side has to escape
 * and unescape every quote in it, as an array literal would make them.
 */
export const INSERT_EVENTS = {
  name: 'audit-insert-events',
  text: `INSERT INTO audit_event (${GIVEN}, sequence, recorded_at)
         SELECT ${GIVEN_OF_ROWS}, t.sequence, t.recorded_at
         FROM unnest(${GIVEN_ARRAYS}, ${behindGiven(1)}::bigint[], ${behindGiven(2)}::timestamptz[]) AS t (${GIVEN}, sequence, recorded_at)`,
};

/**
 * ADVANCE_HEADS and INSERT_EVENTS in one, for events of which nothing has to be known before they are inserted: one
 * round trip, and as its own transaction the only statement of it (docs/adr/0022-one-statement-for-plain-writes.md).
 * Behind what is given: how many events of the same organization come after each; organizations, sorted, and their numbers
 * of events. Written out in audit.statements.spec.ts. The limit on waiting for a head row (HEAD_LOCK_TIMEOUT) is set before the first row comes to be locked.
 */
export const RECORD_EVENTS = {
  name: 'audit-record-events',
  text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT id, n, clock_timestamp()
           FROM set_config('lock_timeout', '${HEAD_LOCK_TIMEOUT_MS}', true), unnest(${behindGiven(2)}::text[], ${behindGiven(3)}::bigint[]) AS t (id, n)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + excluded.last_sequence, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (${GIVEN}, sequence, recorded_at)
           SELECT ${GIVEN_OF_ROWS}, head.last_sequence - t.later, head.recorded_at
           FROM unnest(${GIVEN_ARRAYS}, ${behindGiven(1)}::bigint[]) AS t (${GIVEN}, later)
           JOIN head ON head.organization_id = t.organization_id COLLATE "C"
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
};

/**
 * The same for one event, whose values are no arrays: two thirds of the time (186 and 130 µs), which is what one client
 * after the other waits for.
 */
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
