import { LRUCache } from 'lru-cache';
import { createHash } from 'node:crypto';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import type { StatementGroup } from '../../platform/database/statement-names';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import type { AuditEventFilter, AuditEventSort } from '../event/audit-event-filter';
import { EVENT_JSON } from '../event/audit.statements';
import { matchConditions, timeConditions } from './filter-conditions';
import { Values } from './values';
import { BEGINNING, type LogPositions, type Position } from './position';

export interface PageRequest {
  /** Sorted; '*' stands for all. */
  organizations: readonly string[] | '*';
  filter: AuditEventFilter;
  sort: AuditEventSort;
  /** Excludes the events up to this one in the order; those before it alone with `isIncluded`. */
  after?: Position;
  /**
   * For a list by sequence: positions of its organizations, after which the events are; descending, up to and with
   * which they are. Organizations that have none are at their beginning.
   */
  positions?: LogPositions | undefined;
  /** Timestamps from (inclusive) and to (exclusive), ISO in UTC. */
  from?: string;
  to?: string;
  /**
   * True for literal bounds that begin months: the plan opens (and locks) only these partitions; a generic plan locks
   * all before it prunes. Each pair is a statement of its own.
   */
  isNarrow?: boolean;
  limit: number;
  offset: number;
}

/**
 * A statement for pg, prepared on each connection with a name; with a group only while few others of it have been used
 * since (statement-names.ts).
 */
export interface Statement {
  name?: string;
  group?: StatementGroup;
  text: string;
  values: unknown[];
}

/**
 * Reads one window of a list. One organization: key order, so PostgreSQL stops after `limit` rows. Several: the same
 * for each, then the first of all (545 pages a second for 20, 46 with `= ANY`). All: the index on (timestamp, id).
 */
export function pageStatement(request: PageRequest): Statement {
  const values = new Values();
  const order = orderBy(request.sort, 'e');
  const limit = values.bind(request.limit, 'bigint');
  const offset = values.bind(request.offset, 'bigint');
  const { source, own } = sourceOf(request, values);
  const among = where([...own, ...conditions(request, values)]);
  const page = source
    ? `SELECT e.* FROM ${source} CROSS JOIN LATERAL (
              SELECT * FROM audit_event e ${among}
              ORDER BY ${order} LIMIT ${limit} + ${offset}
            ) e ORDER BY ${order} LIMIT ${limit} OFFSET ${offset}`
    : `SELECT * FROM audit_event e ${among}
            ORDER BY ${order} LIMIT ${limit} OFFSET ${offset}`;
  const text = `SELECT ${EVENT_JSON} FROM (${page}) e ORDER BY ${order}`;
  return { ...preparedName(request, text), text, values: values.list };
}

/** Where the events `e` of a list are read: of each row `o` of a source by itself, or at once. */
interface Source {
  source?: string;
  own: string[];
}

export function sourceOf(
  request: Pick<PageRequest, 'organizations' | 'positions' | 'sort'>,
  values: Values,
): Source {
  const { organizations, sort } = request;
  if (organizations === '*') {
    if (sort.field === 'timestamp') return { own: [] };
    return { source: 'audit_organization AS o', own: [SAME_ORGANIZATION] };
  }
  const [only, ...more] = organizations;
  if (only !== undefined && more.length === 0) return { own: ownConditions(only, request, values) };
  const { source, conditions: own } = organizationsSource(organizations, request, values);
  return { source, own };
}

const SAME_ORGANIZATION = 'e.organization_id = o.organization_id COLLATE "C"';

type Bounds = Pick<PageRequest, 'positions' | 'sort'>;

/** Conditions on the events `e` of one organization, with its position. */
export function ownConditions(
  organizationId: string,
  { positions, sort }: Bounds,
  values: Values,
): string[] {
  const own = `e.organization_id = ${values.bind(organizationId, 'text')}`;
  if (!positions) return [own];
  const { sequence } = positions.get(organizationId) ?? BEGINNING;
  return [own, `e.sequence ${boundOperator(sort)} ${values.bind(String(sequence), 'bigint')}`];
}

/** Organizations as rows `o`, and the conditions that join the events `e` to them, with their positions. */
export function organizationsSource(
  organizations: readonly string[],
  { positions, sort }: Bounds,
  values: Values,
): { source: string; conditions: string[] } {
  const ids = values.bind(organizations, 'text[]');
  if (!positions) {
    return { source: `unnest(${ids}) AS o (organization_id)`, conditions: [SAME_ORGANIZATION] };
  }
  const sequences = organizations.map((id) => String((positions.get(id) ?? BEGINNING).sequence));
  return {
    source: `unnest(${ids}, ${values.bind(sequences, 'bigint[]')}) AS o (organization_id, position)`,
    conditions: [SAME_ORGANIZATION, `e.sequence ${boundOperator(sort)} o.position`],
  };
}

function boundOperator({ direction }: AuditEventSort): string {
  return direction === 'asc' ? '>' : '<=';
}

/** Counts the events of a filter up to TOTAL_EXACT_UP_TO + 1. */
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

export function where(conditions: string[]): string {
  return conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '';
}

/** A total order. */
export function orderBy({ field, direction }: AuditEventSort, alias: string): string {
  const columns =
    field === 'timestamp'
      ? ['timestamp', 'id', 'organization_id']
      : ['sequence', 'organization_id'];
  return columns.map((column) => `${alias}.${column} ${direction.toUpperCase()}`).join(', ');
}

/** Conditions on events `e`: where they are in the list, and what they match. */
export function conditions(
  request: Omit<PageRequest, 'organizations' | 'limit' | 'offset'>,
  values: Values,
): string[] {
  return [...rangeConditions(request, values), ...matchConditions(request.filter, values)];
}

/** The part of a list in its order: times, and the position after which it begins. */
export function rangeConditions(
  request: Omit<PageRequest, 'organizations' | 'limit' | 'offset'>,
  values: Values,
): string[] {
  const { filter, from, to, after } = request;
  const found = timeConditions(filter, values);
  const edge = (operator: string, instant: string) =>
    found.push(
      request.isNarrow
        ? `e.timestamp ${operator} '${formatInstant(parseInstant(instant) ?? 0)}'`
        : `e.timestamp ${operator} ${values.bind(instant, 'timestamptz')}`,
    );
  if (from !== undefined) edge('>=', from);
  if (to !== undefined) edge('<', to);
  if (after) found.push(...afterPosition(request.sort, after, values));
  return found;
}

/** True when events of a list may be left out, so that a page may look at many more than it has. */
export function isFiltered(filter: AuditEventFilter): boolean {
  return matchConditions(filter, new Values()).length > 0;
}

/** Keyset bound. The plain bound on timestamp lets PostgreSQL prune partitions; the row comparison alone visits all. */
function afterPosition(sort: AuditEventSort, after: Position, values: Values): string[] {
  const operator = sort.direction === 'asc' ? '>' : '<';
  const bound = after.isIncluded ? `${operator}=` : operator;
  const organization = `${values.bind(after.organizationId, 'text')} COLLATE "C"`;
  if (sort.field === 'sequence') {
    const sequence = values.bind(after.sequence, 'bigint');
    return [
      `e.sequence ${operator}= ${sequence}`,
      `(e.sequence, e.organization_id) ${bound} (${sequence}, ${organization})`,
    ];
  }
  const timestamp = values.bind(after.timestamp, 'timestamptz');
  const id = values.bind(after.id, 'uuid');
  return [
    `e.timestamp ${operator}= ${timestamp}`,
    `(e.timestamp, e.id, e.organization_id) ${bound} (${timestamp}, ${id}, ${organization})`,
  ];
}

/** Pages of a month or two: 100 kB of a connection's memory each. Clients choose the months. */
const NARROW_PAGES: StatementGroup = { name: 'narrow pages', max: 64 };
/** Pages without a window: 13 kB per partition. Clients use a handful of some hundred shapes at a time. */
const WIDE_PAGES: StatementGroup = { name: 'wide pages', max: 24 };

/** Statement names by text (1 to 4 kB): hashing takes as long as the rest of a statement. */
const names = new LRUCache<string, string>({ max: 500 });

function preparedName(
  { filter, isNarrow }: PageRequest,
  text: string,
): Pick<Statement, 'name' | 'group'> {
  if (isFiltered(filter)) return {};
  return { name: nameOf(text), group: isNarrow ? NARROW_PAGES : WIDE_PAGES };
}

/** The name of a statement of a list with this text. */
export function nameOf(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = `audit-page-${createHash('sha1').update(text).digest('base64url')}`;
    names.set(text, name);
  }
  return name;
}
