import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { boundText } from '../../platform/database/partition-ranges';
import type { SealedRange } from '../../platform/database/seals';
import { EVENT_JSON } from '../event/audit.statements';
import {
  conditions,
  orderBy,
  organizationsSource,
  type PageRequest,
  type Statement,
  where,
} from '../read/page-statement';
import { Values } from '../read/values';
import { indexedFilters } from './indexed-filters';
import { TARGETS_KEY } from './search-indexes';
import { SealedRanges } from './sealed-ranges';
import {
  hasMonths,
  type IndexedFilter,
  prepared,
  type SealedRequest,
  sealedRows,
} from './sealed-statement';

/** Beyond, one walk through all is cheaper: a probe of 84 months takes a quarter of a millisecond. */
const MAX_PROBES = 100;
/** Matches that are counted to compare two filters. */
const COMPARED_MATCHES = 300;
/** Matches that are sorted for a list in another order than that of the indexes. */
export const SORTED_MATCHES = 2000;

/** A part of a list's time, all of it sealed or none. */
export interface Segment {
  /** Milliseconds since 1970; infinite for none. */
  lowerMs: number;
  upperMs: number;
  /** The sealed ranges, oldest first; absent for events that must be looked at one by one. */
  sealed?: readonly SealedRange[];
}

/** How a list with a selective filter is read: by index where its time is sealed. */
export interface SealedPlan {
  by: IndexedFilter;
  /** In the list's order: disjoint, and all of time. */
  segments: readonly Segment[];
}

/** A part of a list by time: read with a statement by index (`by`, `ranges`), or walked. */
export interface SealedPart extends Pick<Segment, 'lowerMs' | 'upperMs'> {
  by?: IndexedFilter;
  ranges?: readonly SealedRange[];
}

/** Reads of lists with a filter that an index serves (docs/adr/0059). */
@Injectable()
export class SealedReads {
  constructor(private readonly ranges: SealedRanges) {}

  /**
   * The plan of a list, or undefined where no index serves it: no such filter, nothing sealed, all organizations, or too
   * many organizations and values. Of several filters the one with the fewest matches is used (a statement each).
   */
  async plan(
    client: PoolClient,
    request: Pick<PageRequest, 'organizations' | 'filter' | 'sort'>,
  ): Promise<SealedPlan | undefined> {
    const { organizations, filter, sort } = request;
    if (organizations === '*') return undefined;
    const candidates = indexedFilters(filter)
      .filter(({ values }) => values.length * organizations.length <= MAX_PROBES)
      .map((by) => ({ by, ranges: this.rangesOf(by) }))
      .filter(({ ranges }) => ranges.length > 0);
    const best =
      candidates.length > 1 ? await this.rarest(client, organizations, candidates) : candidates[0];
    return best && { by: best.by, segments: segmentsOf(best.ranges, sort.direction) };
  }

  private rangesOf({ key, isOfTargets }: IndexedFilter): readonly SealedRange[] {
    return isOfTargets ? this.ranges.of(key, TARGETS_KEY) : this.ranges.of(key);
  }

  private async rarest(
    client: PoolClient,
    organizations: readonly string[],
    candidates: readonly { by: IndexedFilter; ranges: readonly SealedRange[] }[],
  ): Promise<(typeof candidates)[number] | undefined> {
    const counted = candidates.map(async (candidate) => {
      const request: SealedRequest = {
        organizations,
        filter: {},
        sort: { field: 'timestamp', direction: 'desc' },
        ...candidate,
      };
      const { rows } = await client.query<[number]>({
        ...countSealed(request, COMPARED_MATCHES),
        rowMode: 'array',
      });
      return { candidate, count: rows[0]?.[0] ?? 0 };
    });
    for (const one of counted) one.catch(() => undefined); // awaited below, unless another one has failed
    const found = [];
    for (const one of counted) found.push(await one);
    return found.reduce((best, one) => (one.count < best.count ? one : best)).candidate;
  }

  /**
   * The parts of a list by time, in its order: disjoint, and all of time. Undefined where no index serves the list.
   */
  async parts(
    client: PoolClient,
    request: Pick<PageRequest, 'organizations' | 'filter' | 'sort'>,
  ): Promise<SealedPart[] | undefined> {
    const plan = await this.plan(client, request);
    if (!plan) return undefined;
    const { direction } = request.sort;
    return plan.segments.flatMap(({ sealed, ...bounds }): SealedPart[] =>
      sealed
        ? runsOf(sealed, direction).map((ranges) => ({ ...spanOf(ranges), by: plan.by, ranges }))
        : [bounds],
    );
  }

  /**
   * Reads a page of a list by sequence, or undefined where no index serves it, or where it has too many matches.
   * @param rowsOf runs a statement of which the first column is the JSON text of an event, or null.
   */
  async findSorted(
    client: PoolClient,
    request: PageRequest,
    rowsOf: (statement: Statement) => Promise<(string | null)[]>,
  ): Promise<string[] | undefined> {
    const { organizations, limit, offset } = request;
    // The events before an offset are read and thrown away: a walk is better where they are many.
    if (organizations === '*' || limit + offset > SORTED_MATCHES) return undefined;
    const plan = await this.plan(client, request);
    if (!plan) return undefined;
    const all = { ...request, organizations, offset: 0, limit: limit + offset };
    return (await sortedPage(all, plan, rowsOf))?.slice(offset);
  }

  /** Counts the events of a list up to TOTAL_EXACT_UP_TO + 1; undefined where no index serves it. */
  async count(
    client: PoolClient,
    request: Pick<PageRequest, 'organizations' | 'filter' | 'sort'>,
  ): Promise<number | undefined> {
    const { organizations } = request;
    const plan = await this.plan(client, request);
    if (!plan || organizations === '*') return undefined;
    const values = new Values();
    const limit = values.bind(TOTAL_EXACT_UP_TO + 1, 'bigint');
    const rows = rowsOfPlan({ ...request, organizations }, plan, values, limit);
    const text = `SELECT count(*)::int FROM (SELECT 1 FROM (${rows}) e LIMIT ${limit}) c`;
    const statement = prepared(text, values.list, true);
    const result = await client.query<[number]>({ ...statement, rowMode: 'array' });
    return result.rows[0]?.[0] ?? 0;
  }

  /**
   * SQL of the events of a filter as rows `e` for a statement with these values, at most `most` + 1 of them; undefined
   * where no index serves it.
   */
  async matches(
    client: PoolClient,
    { organizations, filter }: Pick<PageRequest, 'organizations' | 'filter'>,
    most: number,
  ): Promise<((values: Values) => string) | undefined> {
    if (organizations === '*') return undefined;
    const request: Omit<NamedRequest, 'limit' | 'offset'> = {
      organizations,
      filter,
      sort: { field: 'timestamp', direction: 'desc' },
    };
    const plan = await this.plan(client, request);
    if (!plan) return undefined;
    return (values) => {
      const limit = values.bind(most + 1, 'bigint');
      return `(SELECT e.* FROM (${rowsOfPlan(request, plan, values, limit)}) e LIMIT ${limit}) e`;
    };
  }
}

type NamedRequest = PageRequest & { organizations: readonly string[] };
type RowsOf = (statement: Statement) => Promise<(string | null)[]>;

/** Bounds of a segment; as literals they leave no other partitions to plan. */
function windowOf(lowerMs: number, upperMs: number): { from?: string; to?: string } {
  return {
    ...(Number.isFinite(lowerMs) ? { from: boundText(lowerMs) } : {}),
    ...(Number.isFinite(upperMs) ? { to: boundText(upperMs) } : {}),
  };
}

/** All matches, sorted; undefined when they are more than SORTED_MATCHES: a walk then finds some soon. */
async function sortedPage(
  request: NamedRequest,
  plan: SealedPlan,
  rowsOf: RowsOf,
): Promise<string[] | undefined> {
  const values = new Values();
  const most = values.bind(SORTED_MATCHES, 'bigint');
  const limit = values.bind(request.limit, 'bigint');
  const rows = rowsOfPlan(request, plan, values, `${most} + 1`);
  const order = orderBy(request.sort, 'e');
  const text = `WITH found AS MATERIALIZED (SELECT e.* FROM (${rows}) e LIMIT ${most} + 1),
    size AS (SELECT count(*) AS events FROM found)
    SELECT json FROM (
      SELECT ${EVENT_JSON} AS json FROM found e WHERE (SELECT events FROM size) <= ${most}
      ORDER BY ${order} LIMIT ${limit}
    ) e
    UNION ALL SELECT NULL FROM size WHERE events > ${most}`;
  const found = await rowsOf(prepared(text, values.list, true));
  return found.includes(null) ? undefined : (found as string[]);
}

/** All events of a list as rows `e`, in no order; of each organization, value and part of time at most `limit` (SQL). */
function rowsOfPlan(
  request: Omit<NamedRequest, 'limit' | 'offset'>,
  { by, segments }: SealedPlan,
  values: Values,
  limit: string,
): string {
  const sealed = segments.flatMap((segment) => segment.sealed ?? []);
  const open = segments.filter((segment) => !segment.sealed);
  const { source, conditions: own } = organizationsSource(request.organizations, request, values);
  const walks = open.map(({ lowerMs, upperMs }) => {
    const window = { ...windowOf(lowerMs, upperMs), isNarrow: true };
    // OFFSET 0: the planner must not walk the log by sequence through all of time.
    return `SELECT e.* FROM ${source} CROSS JOIN LATERAL (
        SELECT e.* FROM audit_event e ${where([...own, ...conditions({ ...request, ...window }, values)])} OFFSET 0
      ) e`;
  });
  const parts = [sealedRows({ ...request, by, ranges: sealed }, values, { limit }), ...walks];
  return parts.map((part) => `(${part} LIMIT ${limit})`).join(' UNION ALL ');
}

/** Sealed and other parts of time, in the order of the list. */
export function segmentsOf(ranges: readonly SealedRange[], direction: 'asc' | 'desc'): Segment[] {
  const segments: Segment[] = [];
  let atMs = -Infinity;
  for (const range of ranges) {
    const last = segments.at(-1);
    if (range.lowerMs > atMs) segments.push({ lowerMs: atMs, upperMs: range.lowerMs });
    else if (last?.sealed) {
      last.sealed = [...last.sealed, range];
      last.upperMs = atMs = range.upperMs;
      continue;
    }
    segments.push({ lowerMs: range.lowerMs, upperMs: range.upperMs, sealed: [range] });
    atMs = range.upperMs;
  }
  if (atMs < Infinity) segments.push({ lowerMs: atMs, upperMs: Infinity });
  return direction === 'asc' ? segments : segments.reverse();
}

function spanOf(ranges: readonly SealedRange[]): Pick<Segment, 'lowerMs' | 'upperMs'> {
  return { lowerMs: ranges[0]?.lowerMs ?? -Infinity, upperMs: ranges.at(-1)?.upperMs ?? Infinity };
}

/** Whole partitions and partial ranges have statements of their own, as those of partial ones change with each seal. */
function runsOf(sealed: readonly SealedRange[], direction: 'asc' | 'desc'): SealedRange[][] {
  const runs: SealedRange[][] = [];
  for (const range of sealed) {
    const last = runs.at(-1);
    if (last?.[0]?.isWhole === range.isWhole) last.push(range);
    else runs.push([range]);
  }
  return direction === 'asc' ? runs : runs.reverse();
}

function countSealed(request: SealedRequest, most: number): Statement {
  const values = new Values();
  const limit = values.bind(most, 'bigint');
  const text = `SELECT count(*)::int FROM (SELECT 1 FROM (${sealedRows(request, values, { limit })}) e LIMIT ${limit}) c`;
  return prepared(text, values.list, hasMonths(request.ranges));
}
