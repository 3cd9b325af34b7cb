import type { AuditEventSort } from '../event/audit-event-filter';
import { EVENT_JSON, instantText } from '../event/audit.statements';
import { matchConditions } from './filter-conditions';
import type { StatementGroup } from '../../platform/database/statement-names';
import {
  nameOf,
  orderBy,
  type PageRequest,
  rangeConditions,
  sourceOf,
  type Statement,
  where,
} from './page-statement';
import { Values } from './values';

/** A portion of a list: what it may have of the rows that it looks at. */
export interface PortionRequest extends PageRequest {
  /** Rows of each organization that are looked at, in the order of the list. */
  rows: number;
}

/**
 * Portions of a search are planned once: over all partitions that takes as long as looking at 10 000 rows. Clients choose the
 * filters and the months.
 */
const PORTIONS: StatementGroup = { name: 'portions', max: 8 };

/** One row of a portion, in the order of the list. */
export type PortionRow = [
  /** JSON text of an event that matches and is beyond the offset; null for an end. */
  event: string | null,
  /** JSON text of an End: the last row that was looked at of an organization. */
  end: string | null,
  /** Matching events up to and with this row, those before the offset included. */
  place: string,
];

/** Key of a row in the order of its list. */
export interface End {
  /** In lists by time. */
  timestamp: string | null;
  id: string | null;
  organizationId: string;
  /** In lists by sequence. */
  sequence: string | null;
}

/** The columns of a key `e` that an index of the list's order has: its rows are passed without a look at the table. */
const KEY_COLUMNS = {
  timestamp: 'e.timestamp, e.id, e.organization_id, NULL::bigint AS sequence',
  sequence: 'NULL::timestamptz AS timestamp, NULL::uuid AS id, e.organization_id, e.sequence',
};

function endJson(alias: string, prefix = ''): string {
  const column = (name: string) => `${alias}.${prefix}${name}`;
  return `json_build_object('timestamp', ${instantText(column('timestamp'))}, 'id', ${column('id')},
    'organizationId', ${column('organization_id')}, 'sequence', ${column('sequence')}::text)::text`;
}

/**
 * Looks at so many rows of a list and takes those that match, as far as the page goes. Of an organization that has more rows
 * the key of the last one is there as well: the first of these ends the portion, as its organization may have matching
 * events between that row and later ones of others. Without one, the portion is the rest of the list.
 */
export function portionStatement(request: PortionRequest): Statement {
  const values = new Values();
  const limit = values.bind(request.limit, 'bigint');
  const offset = values.bind(request.offset, 'bigint');
  const { source, own } = sourceOf(request, values);
  const { walk, end } = rangeOf(request, own, values);
  const match = matchConditions(request.filter, values).join(' AND ');
  // The end is sought only after the page is known not to be full; its other columns are those of no event.
  const found = `WITH found AS MATERIALIZED (
      SELECT * FROM (${walk}) e WHERE ${match} ORDER BY ${orderBy(request.sort, 'e')} LIMIT ${limit} + ${offset}
    )
    SELECT e.*, NULL::timestamptz AS end_timestamp, NULL::uuid AS end_id, NULL::text COLLATE "C" AS end_organization_id,
      NULL::bigint AS end_sequence FROM found e
    UNION ALL
    SELECT (NULL::audit_event).*, k.timestamp, k.id, k.organization_id, k.sequence FROM (${end}) k
    WHERE (SELECT count(*) FROM found) < ${limit} + ${offset}`;
  const rows = source ? `SELECT e.* FROM ${source} CROSS JOIN LATERAL (${found}) e` : found;
  const isEnd = 'e.end_organization_id IS NOT NULL';
  const order = mergeOrder(request.sort);
  const [isTaken, place] =
    request.offset > 0
      ? [
          `(${isEnd} OR e.place > ${offset})`,
          `count(e.organization_id) OVER (ORDER BY ${order} ROWS UNBOUNDED PRECEDING)`,
        ]
      : ['true', '0'];
  const text = `SELECT CASE WHEN e.organization_id IS NOT NULL THEN ${EVENT_JSON} END,
      CASE WHEN ${isEnd} THEN ${endJson('e', 'end_')} END, e.place::text
    FROM (
      SELECT * FROM (SELECT e.*, ${place} AS place FROM (${rows}) e) e WHERE ${isTaken}
      ORDER BY ${order} LIMIT ${limit}
    ) e ORDER BY ${order}`;
  return { name: nameOf(text), group: PORTIONS, text, values: values.list };
}

/**
 * Counts the matching events of a portion of a list by time, newest first. One row: the count, and the End of the portion,
 * null at the end of the list.
 */
export function portionCountStatement(request: PortionRequest): Statement {
  const values = new Values();
  const { source, own } = sourceOf(request, values);
  const { walk, end } = rangeOf(request, own, values);
  const match = matchConditions(request.filter, values).join(' AND ');
  const order = orderBy(request.sort, 'e');
  const ofEach = (rows: string) =>
    source ? `SELECT e.* FROM ${source} CROSS JOIN LATERAL (${rows}) e` : rows;
  const ends = source ? `${ofEach(end)} ORDER BY ${order} LIMIT 1` : end;
  const isWithin = `coalesce((e.timestamp, e.id, e.organization_id) >= (SELECT timestamp, id, organization_id FROM reached), true)`;
  const counted = ofEach(`SELECT e.id FROM (${walk}) e WHERE ${match} AND ${isWithin}`);
  const text = `WITH reached AS MATERIALIZED (${ends})
    SELECT (SELECT count(*)::text FROM (${counted}) c), (SELECT ${endJson('e')} FROM reached e)`;
  return { name: nameOf(text), group: PORTIONS, text, values: values.list };
}

/** Statements over the rows of one organization, or of all at once, in the list's order: all, and the key of the last. */
function rangeOf(
  request: PortionRequest,
  own: string[],
  values: Values,
): { walk: string; end: string } {
  const rows = values.bind(request.rows, 'bigint');
  const range = `FROM audit_event e ${where([...own, ...rangeConditions(request, values)])}
      ORDER BY ${orderBy(request.sort, 'e')}`;
  return {
    walk: `SELECT * ${range} LIMIT ${rows}`,
    end: `SELECT ${KEY_COLUMNS[request.sort.field]} ${range} OFFSET ${rows} - 1 LIMIT 1`,
  };
}

/** The list's order of events and ends. An end is after the event that has its key. */
function mergeOrder({ field, direction }: AuditEventSort): string {
  const columns =
    field === 'timestamp'
      ? ['timestamp', 'id', 'organization_id']
      : ['sequence', 'organization_id'];
  const keys = columns.map(
    (column) => `coalesce(e.${column}, e.end_${column}) ${direction.toUpperCase()}`,
  );
  return [...keys, 'e.end_organization_id NULLS FIRST'].join(', ');
}
