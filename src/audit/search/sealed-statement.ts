import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { boundText } from '../../platform/database/partition-ranges';
import type { SealedRange } from '../../platform/database/seals';
import type { StatementGroup } from '../../platform/database/statement-names';
import { formatInstant } from '../../platform/runtime/instant';
import { EVENT_JSON, instantText } from '../event/audit.statements';
import {
  conditions,
  orderBy,
  ownConditions,
  type PageRequest,
  type Statement,
} from '../read/page-statement';
import { Values } from '../read/values';
import {
  hashOf,
  keyHashOf,
  presenceOf,
  type SearchKey,
  targetHashesOf,
  targetsPresenceOf,
  valueOf,
} from './search-indexes';

/** A filter that an index serves: the event has one of these values. */
export interface IndexedFilter {
  key: SearchKey;
  values: readonly string[];
  /** Any target of the event may have the value, and not the first one alone. */
  isOfTargets?: true;
}

/** Events of named organizations, in sealed ranges, with a value of an indexed filter, and all of the request's filter. */
export interface SealedRequest extends Omit<PageRequest, 'organizations' | 'limit' | 'offset'> {
  organizations: readonly string[];
  by: IndexedFilter;
  ranges: readonly SealedRange[];
}

/** Plans over all partitions, of which PostgreSQL keeps some 13 kB for each partition. */
const WHOLE: StatementGroup = { name: 'sealed months', max: 10 };
/** Plans of one or two partitions. */
const PARTIAL: StatementGroup = { name: 'sealed ranges', max: 16 };

const LEAST_ID = '00000000-0000-0000-0000-000000000000';
const GREATEST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/**
 * Reads the next events of a list in sealed ranges: rows of `[json, reached]`, in the list's order.
 *
 * Each organization and value is one position in each index, whose order is the list's: PostgreSQL stops after `limit`
 * events, however many there are. The planner has no other way that gives this order (ORDER BY begins with the hash, and
 * the row comparisons leave it no equality to reduce that by), no other index fits a condition, as all of them are inside a
 * CASE, and any way but through a sealed index has to evaluate a function that is declared dear: so no estimate can make it
 * walk by time. Values are compared themselves after their hash.
 *
 * With `look`, at most so many events of each organization, value and range are looked at, which matters when other
 * conditions hold for few of them. A row with `reached` (JSON of a Position) says that the list is complete up to this
 * position only; `json` is null unless that event is one of the list.
 * @param request in the order of time.
 */
export function sealedStatement(request: SealedRequest, limit: number, look?: number): Statement {
  const values = new Values();
  const most = values.bind(limit, 'bigint');
  const looked = look === undefined ? undefined : values.bind(look, 'bigint');
  const rows = sealedRows(request, values, { limit: most, look: looked });
  const order = orderBy(request.sort, 'e');
  const [json, reached] =
    looked === undefined
      ? [EVENT_JSON, 'NULL']
      : [
          `CASE WHEN e.fits THEN ${EVENT_JSON} END`,
          `CASE WHEN e.looked = ${looked} THEN ${POSITION_JSON} END`,
        ];
  const text = `SELECT ${json}, ${reached} FROM (
    SELECT e.* FROM (${rows}) e ORDER BY ${order} LIMIT ${most}
  ) e ORDER BY ${order}`;
  return prepared(text, values.list, hasMonths(request.ranges));
}

const POSITION_JSON = `json_build_object('timestamp', ${instantText('e.timestamp')}, 'sequence', e.sequence::text,
  'id', e.id, 'organizationId', e.organization_id, 'recordedAt', ${instantText('e.recorded_at')})::text`;

/**
 * Rows `e` of the events, in no order: for statements that sort or count them.
 * @param limits SQL: events of each organization, value and range.
 */
export function sealedRows(
  request: SealedRequest,
  values: Values,
  limits: { limit: string; look?: string | undefined },
): string {
  const { by, organizations, ranges, sort } = request;
  const keys = keysOf(by, organizations, values);
  const direction = sort.field === 'sequence' ? 'DESC' : sort.direction.toUpperCase();
  const position = positionsOf(request, values);
  const others = conditions(withoutWindow(request), values);
  const hash = keyHashOf(by.key, 'e.');
  const fits = fitting([
    'e.organization_id = k.organization_id',
    `(${valueOf(by.key, 'e.')}) = k.value COLLATE "C"`,
    ...ownPosition(request, values),
    ...others,
  ]);
  const branches = ranges.map((range) => {
    const bounds = [
      ...literalBounds(range),
      presenceOf(by.key, 'e.'),
      `(${hash}, e.timestamp, e.id) >= (k.hash, ${position.from})`,
      `(${hash}, e.timestamp, e.id) <= (k.hash, ${position.to})`,
    ];
    const order = `ORDER BY ${hash} ${direction}, e.timestamp ${direction}, e.id ${direction}`;
    if (limits.look === undefined) {
      return `(SELECT e.* FROM audit_event e WHERE ${[...bounds, fits].join(' AND ')} ${order} LIMIT ${limits.limit})`;
    }
    return `(SELECT * FROM (
        SELECT l.*, row_number() OVER () AS looked FROM (
          SELECT e.*, ${fits} AS fits FROM audit_event e WHERE ${bounds.join(' AND ')} ${order} LIMIT ${limits.look}
        ) l
      ) l WHERE fits OR looked = ${limits.look} LIMIT ${limits.limit})`;
  });
  const first = `SELECT e.* FROM ${keys} AS k CROSS JOIN LATERAL (${branches.join(' UNION ALL ')}) e`;
  if (!by.isOfTargets) return first;
  const more = ranges.map((range) =>
    otherTargets(request, range, { keys, others, values, limits }),
  );
  return [first, ...more].join(' UNION ALL ');
}

/** Organizations and values with their hashes, as a table. */
function keysOf(
  { values: wanted }: IndexedFilter,
  organizations: readonly string[],
  values: Values,
): string {
  const ids = values.bind([...new Set(organizations)], 'text[]');
  const texts = values.bind([...new Set(wanted)], 'text[]');
  return `(SELECT o AS organization_id, v AS value, ${hashOf('o', 'v')} AS hash FROM unnest(${ids}) o, unnest(${texts}) v)`;
}

/**
 * Events whose further targets have a value, the first one aside: few events have further ones. All matches of a range
 * are sorted.
 */
function otherTargets(
  request: SealedRequest,
  range: SealedRange,
  parts: {
    keys: string;
    others: string[];
    values: Values;
    limits: { limit: string; look?: string | undefined };
  },
): string {
  const { by, organizations, sort } = request;
  const { keys, others, values, limits } = parts;
  const ids = values.bind([...new Set(by.values)], 'text[]');
  const fits = fitting([
    `e.organization_id = ANY(${values.bind(organizations, 'text[]')})`,
    `(e.target_resource_id = ANY(${ids})) IS NOT TRUE`,
    ...ownPosition(request, values),
    ...others,
  ]);
  const found = [
    ...literalBounds(range),
    targetsPresenceOf('e.'),
    `${targetHashesOf('e.')} && ARRAY(SELECT hash FROM ${keys} k)`,
  ];
  const marks = limits.look === undefined ? '' : ', true AS fits, NULL::bigint AS looked';
  return `(SELECT e.*${marks} FROM (SELECT e.* FROM audit_event e WHERE ${found.join(' AND ')} OFFSET 0) e
    WHERE ${fits} ORDER BY ${orderBy(sort, 'e')} LIMIT ${limits.limit})`;
}

/** Indexes of partial ranges are usable only for a statement with literal bounds. */
function literalBounds({ lowerMs, upperMs }: SealedRange): string[] {
  return [`e.timestamp >= '${boundText(lowerMs)}'`, `e.timestamp < '${boundText(upperMs)}'`];
}

/** No estimate of these conditions, and no index for one of them, can change the plan. */
function fitting(all: readonly string[]): string {
  return `CASE WHEN ${all.join(' AND ')} THEN true ELSE false END`;
}

/** Where the index is entered and left: what the request says about time, both ends included. Exact conditions follow. */
function positionsOf(
  { filter, sort, after }: SealedRequest,
  values: Values,
): { from: string; to: string } {
  const { startDate, endDate } = filter;
  let [from, fromId] = [startDate ? formatInstant(startDate.micros) : '-infinity', LEAST_ID];
  let [to, toId] = [endDate ? formatInstant(endDate.micros) : 'infinity', GREATEST_ID];
  if (after && sort.field === 'timestamp') {
    const { timestamp, id } = after;
    if (sort.direction === 'asc' && (!startDate || timestamp >= from))
      [from, fromId] = [timestamp, id];
    if (sort.direction === 'desc' && (!endDate || timestamp <= to)) [to, toId] = [timestamp, id];
  }
  const bound = (at: string, id: string) =>
    `${values.bind(at, 'timestamptz')}, ${values.bind(id, 'uuid')}`;
  return { from: bound(from, fromId), to: bound(to, toId) };
}

/** The bound of an organization in a list by sequence. */
function ownPosition(request: SealedRequest, values: Values): string[] {
  const { organizations, positions } = request;
  if (!positions) return [];
  const each = organizations.map((id) => ownConditions(id, request, values).join(' AND '));
  return [`(${each.join(' OR ')})`];
}

function withoutWindow({
  filter,
  sort,
  after,
}: SealedRequest): Pick<SealedRequest, 'filter' | 'sort' | 'after'> {
  return { filter, sort, ...(after ? { after } : {}) };
}

/** True for ranges of whole partitions: their plans are large, and good for longer. */
export function hasMonths(ranges: readonly SealedRange[]): boolean {
  return ranges.some(({ isWhole }) => isWhole);
}

/** Names by text: clients choose which filters there are, and never a value. */
const names = new LRUCache<string, string>({ max: 200 });

/** A statement with the name of its text, of which a connection keeps as many as the group allows. */
export function prepared(text: string, values: unknown[], isOfMonths: boolean): Statement {
  let name = names.get(text);
  if (name === undefined) {
    name = `audit-sealed-${createHash('sha1').update(text).digest('base64url')}`;
    names.set(text, name);
  }
  return { name, group: isOfMonths ? WHOLE : PARTIAL, text, values };
}
