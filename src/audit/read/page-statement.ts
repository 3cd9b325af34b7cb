import { LRUCache } from 'lru-cache';
import { createHash } from 'node:crypto';
import type { StatementGroup } from '../../platform/database/statement-names';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { EVENT_JSON } from '../event/audit.statements';
import type { LogPosition } from './log-position';
import {
  FILTER_COLUMNS,
  type AuditEventFilter,
  type AuditEventSort,
} from '../event/audit-event-filter';

/** The place of an event in an order: its timestamp or sequence, then what breaks ties. */
export interface Position {
  timestamp: string;
  sequence: string;
  id: string;
  organizationId: string;
  /** When it was recorded, where the position is one of a list by sequence: tells whether it is still the same event. */
  recordedAt?: string;
}

/** The same position in the log of its organization. */
export function logPositionOf({ sequence, recordedAt, id }: Position): LogPosition {
  const recordedMicros = recordedAt === undefined ? undefined : parseInstant(recordedAt);
  return { sequence: BigInt(sequence), recordedMicros, ...(id === '' ? {} : { id }) };
}

/** One stretch of a sorted list to read. */
export interface PageRequest {
  /** Sorted; '*' is every organization there is. */
  organizations: readonly string[] | '*';
  filter: AuditEventFilter;
  sort: AuditEventSort;
  /** Read only what lies beyond this event in the order. */
  after?: Position;
  /** Timestamps to look at: from (inclusive) and to (exclusive), ISO in UTC. */
  from?: string;
  to?: string;
  /**
   * Whether from and to become part of the statement. The plan then opens (and locks) the partitions of these months
   * alone, where a generic plan locks every partition there is before it leaves most of them out. They begin months,
   * and each pair of months is a statement of its own.
   */
  isNarrow?: boolean;
  limit: number;
  offset: number;
}

/**
 * A statement ready for pg. One with a name is prepared once for each connection, where it stays; with a group, until
 * others of the group have been used more recently (statement-names.ts).
 */
export interface Statement {
  name?: string;
  group?: StatementGroup;
  text: string;
  values: unknown[];
}

/** Values of a statement in the making. */
export class Values {
  readonly list: unknown[] = [];

  /** Binds a value and returns its placeholder. */
  bind(value: unknown, type: string): string {
    this.list.push(value);
    return `$${this.list.length}::${type}`;
  }
}

/**
 * Reads one stretch of a list. One organization: its key order is the order of the page, so PostgreSQL stops after
 * `limit` rows. Several: the same for each, then the best of all (545 pages a second for 20 organizations, where
 * `= ANY` made 46). All: the index on (timestamp, id).
 */
export function pageStatement(request: PageRequest): Statement {
  const values = new Values();
  const order = orderBy(request.sort, 'e');
  const limit = values.bind(request.limit, 'bigint');
  const offset = values.bind(request.offset, 'bigint');
  const { organizations } = request;
  let page: string;
  if (organizations === '*' && request.sort.field === 'timestamp') {
    page = `SELECT * FROM audit_event e ${where(conditions(request, values))}
            ORDER BY ${order} LIMIT ${limit} OFFSET ${offset}`;
  } else if (organizations !== '*' && organizations.length === 1) {
    const own = `e.organization_id = ${values.bind(organizations[0], 'text')}`;
    page = `SELECT * FROM audit_event e ${where([own, ...conditions(request, values)])}
            ORDER BY ${order} LIMIT ${limit} OFFSET ${offset}`;
  } else {
    const source =
      organizations === '*'
        ? 'audit_organization AS o'
        : `unnest(${values.bind(organizations, 'text[]')}) AS o (organization_id)`;
    const own = 'e.organization_id = o.organization_id COLLATE "C"';
    page = `SELECT e.* FROM ${source} CROSS JOIN LATERAL (
              SELECT * FROM audit_event e ${where([own, ...conditions(request, values)])}
              ORDER BY ${order} LIMIT ${limit} + ${offset}
            ) e ORDER BY ${order} LIMIT ${limit} OFFSET ${offset}`;
  }
  const text = `SELECT ${EVENT_JSON} FROM (${page}) e ORDER BY ${order}`;
  return { ...preparedName(request, text), text, values: values.list };
}

/** Counts what a filter finds, but no further than one above TOTAL_EXACT_UP_TO. */
export function countStatement(
  request: Omit<PageRequest, 'limit' | 'offset' | 'after'>,
): Statement {
  const values = new Values();
  const own =
    request.organizations === '*'
      ? []
      : [`e.organization_id = ANY(${values.bind(request.organizations, 'text[]')})`];
  const all = [...own, ...conditions(request, values)];
  const text = `SELECT count(*)::int FROM (
    SELECT 1 FROM audit_event e ${where(all)} LIMIT ${TOTAL_EXACT_UP_TO + 1}) c`;
  return { text, values: values.list };
}

/** A WHERE clause, or nothing. */
export function where(conditions: string[]): string {
  return conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '';
}

/** The order of a list; it is total. */
export function orderBy({ field, direction }: AuditEventSort, alias: string): string {
  const columns =
    field === 'timestamp'
      ? ['timestamp', 'id', 'organization_id']
      : ['sequence', 'organization_id'];
  return columns.map((column) => `${alias}.${column} ${direction.toUpperCase()}`).join(', ');
}

/** What a filter and a position ask of an event `e`. */
export function conditions(
  request: Omit<PageRequest, 'organizations' | 'limit' | 'offset'>,
  values: Values,
): string[] {
  const { filter, from, to, after } = request;
  const found: string[] = [];
  const bound = (operator: string, instant: string) =>
    found.push(`e.timestamp ${operator} ${values.bind(instant, 'timestamptz')}`);
  if (filter.startDate !== undefined) bound('>=', formatInstant(filter.startDate));
  if (filter.endDate !== undefined) bound('<', formatInstant(filter.endDate));
  const edge = (operator: string, instant: string) =>
    request.isNarrow
      ? found.push(`e.timestamp ${operator} '${formatInstant(parseInstant(instant) ?? 0)}'`)
      : bound(operator, instant);
  if (from !== undefined) edge('>=', from);
  if (to !== undefined) edge('<', to);
  if (after) found.push(...beyond(request.sort, after, values));
  for (const [name, column] of Object.entries(FILTER_COLUMNS)) {
    const list = filter[name as keyof typeof FILTER_COLUMNS];
    if (list) found.push(`e.${column} = ANY(${values.bind(list, 'text[]')})`);
  }
  return found;
}

/** Beyond a position in the order (keyset). The plain bound on timestamp lets PostgreSQL leave partitions out; the row comparison alone visits all. */
function beyond(sort: AuditEventSort, after: Position, values: Values): string[] {
  const operator = sort.direction === 'asc' ? '>' : '<';
  const organization = `${values.bind(after.organizationId, 'text')} COLLATE "C"`;
  if (sort.field === 'sequence') {
    const sequence = values.bind(after.sequence, 'bigint');
    return [
      `e.sequence ${operator}= ${sequence}`,
      `(e.sequence, e.organization_id) ${operator} (${sequence}, ${organization})`,
    ];
  }
  const timestamp = values.bind(after.timestamp, 'timestamptz');
  const id = values.bind(after.id, 'uuid');
  return [
    `e.timestamp ${operator}= ${timestamp}`,
    `(e.timestamp, e.id, e.organization_id) ${operator} (${timestamp}, ${id}, ${organization})`,
  ];
}

/** Pages of a month or two: 100 kB of a connection's memory each. Clients choose the months. */
const NARROW_PAGES: StatementGroup = { name: 'narrow pages', max: 64 };
/**
 * Pages of all that there is: 13 kB for each partition. There are some hundred shapes (sort, dates, cursor, one
 * organization or several), and clients use a handful at a time.
 */
const WIDE_PAGES: StatementGroup = { name: 'wide pages', max: 24 };

/** Names of texts, as hashing one would take as long as the rest of a statement. Texts have 1 to 4 kB. */
const names = new LRUCache<string, string>({ max: 500 });

function preparedName(
  { filter, isNarrow }: PageRequest,
  text: string,
): Pick<Statement, 'name' | 'group'> {
  const hasLists = Object.keys(FILTER_COLUMNS).some(
    (name) => filter[name as keyof typeof FILTER_COLUMNS] !== undefined,
  );
  if (hasLists) return {};
  let name = names.get(text);
  if (name === undefined) {
    name = `audit-page-${createHash('sha1').update(text).digest('base64url')}`;
    names.set(text, name);
  }
  return { name, group: isNarrow ? NARROW_PAGES : WIDE_PAGES };
}
