import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { PoolClient } from 'pg';
import { type Principal, resolveOrganizations } from '../../auth/principal';
import { databaseConfig, paginationConfig, serverConfig } from '../../platform/config/settings';
import { inSnapshot, withinTime } from '../../platform/database/snapshot';
import { validationFailed } from '../../platform/errors/app-error';
import { wallClockMs } from '../../platform/runtime/clocks';
import type { Micros } from '../../platform/runtime/instant';
import { MAX_AHEAD_MS } from '../event/audit-event';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { parseEventQuery } from '../event/event-query';
import { SealedReads } from '../search/sealed-reads';
import { AuditQueries } from './audit.queries';
import {
  type CountKey,
  type CountRequest,
  type CountRow,
  countsStatement,
  isByTime,
  sliceSource,
  type TimeSlice,
} from './count-statement';
import { CountTally, MAX_COUNTED_VALUES, type Tally } from './count-tally';
import { TimeSlices } from './time-slices';
import { Values } from './values';

/** Buckets of a range: three years of days, fifty days of hours. */
export const MAX_BUCKETS = 1200;
/** Values of all slices that are added up in memory; of more, PostgreSQL makes the first ones itself. */
const MAX_TALLIED_VALUES = 20_000;
/** Matches of a selective filter that are read by index before it is taken for a frequent one. */
const MAX_INDEXED_MATCHES = 10_000;

const MICROS_PER = { hour: 3_600_000_000, day: 86_400_000_000 };
/** No slice begins with less time left. */
const LEAST_MS = 20;
/** Time that a slice has in any case: four times what it should take. */
const SLICE_TIMEOUT_MS = 2000;
/** Part of the time for a request that counts may take. */
const REQUEST_PART = 0.75;

export interface CountQuery {
  by: CountKey;
  filter: AuditEventFilter;
  timeZone?: string | undefined;
}

/** How a protocol names what may be at fault. */
export interface CountPaths {
  startDate: string;
  timeZone: string;
}

export interface ParsedCount extends CountRequest {
  paths: CountPaths;
}

/** Events counted by value; `countedFrom` where the time for it was over: events from then on are counted, earlier ones are not. */
export interface FoundCounts extends Tally {
  countedFrom?: Micros;
}

/** Counts events by a value or by time (docs/adr/0062). */
@Injectable()
export class EventCounts {
  /** Milliseconds for a count; tests have less. */
  budgetMs: number;
  private readonly statementMs: number;

  constructor(
    private readonly queries: AuditQueries,
    private readonly sealed: SealedReads,
    @Inject(paginationConfig.KEY) { readBudgetMs }: ConfigType<typeof paginationConfig>,
    @Inject(serverConfig.KEY) { requestTimeoutMs }: ConfigType<typeof serverConfig>,
    @Inject(databaseConfig.KEY) { statementTimeoutMs }: ConfigType<typeof databaseConfig>,
  ) {
    this.budgetMs = Math.min(readBudgetMs, REQUEST_PART * requestTimeoutMs);
    this.statementMs = statementTimeoutMs === 0 ? Infinity : statementTimeoutMs;
  }

  /**
   * Parses a principal's request.
   * @throws AppError FORBIDDEN (organizations); VALIDATION_FAILED for a time zone that is not used, and for too many buckets.
   */
  parse(
    principal: Principal,
    { by, filter, timeZone }: CountQuery,
    paths: CountPaths,
  ): ParsedCount {
    if (timeZone !== undefined && by !== 'day') {
      throw validationFailed([{ path: paths.timeZone, message: 'is for counts by day only' }]);
    }
    const organizations = resolveOrganizations(principal, filter.organizationIds);
    const zone = timeZone ?? 'UTC';
    const parsed = { organizations, filter, by, timeZone: zone, paths, ...rangeOf(filter) };
    requireFewBuckets(parsed);
    return parsed;
  }

  /**
   * Counts in one snapshot, until the signal aborts.
   * @throws AppError VALIDATION_FAILED for a time zone that PostgreSQL does not know; what reading throws.
   */
  async count(request: ParsedCount, signal?: AbortSignal): Promise<FoundCounts> {
    requireFewBuckets(request); // now, as a parsed request without an end may be an old one
    if (request.organizations.length === 0) return new CountTally(request.by).result();
    return this.queries.read(request.organizations, signal, (client) =>
      inSnapshot(client, async () => {
        // Plans for the values that are asked for: parallel ones for many events, by index for few.
        await client.query('SET LOCAL plan_cache_mode = force_custom_plan');
        return this.countIn(client, request, signal);
      }).catch((error: unknown) => {
        throw isUnknownZone(error, request) ? unknownZone(request) : error;
      }),
    );
  }

  private async countIn(
    client: PoolClient,
    request: CountRequest,
    signal: AbortSignal | undefined,
  ): Promise<FoundCounts> {
    const endMs = performance.now() + this.budgetMs;
    const leftMs = () => endMs - performance.now();
    const read = async (sourceOf: (values: Values) => string, limit: number, timeMs: number) => {
      const values = new Values();
      const statement = countsStatement(request, sourceOf(values), { values, limit });
      const timeoutMs = Math.min(timeMs, this.statementMs);
      const found = await withinTime(client, { timeoutMs, signal }, () =>
        client.query<CountRow>({ ...statement, rowMode: 'array' }),
      );
      return found?.rows;
    };
    const whole = (source: (values: Values) => string, timeMs: number) =>
      read(source, isByTime(request.by) ? ALL_BUCKETS : MAX_COUNTED_VALUES, timeMs);

    const matches = await this.sealed.matches(client, request, MAX_INDEXED_MATCHES);
    const byIndex = matches && (await whole(matches, leftMs() / 2));
    if (byIndex && totalOf(byIndex) <= MAX_INDEXED_MATCHES) return tallyOf(request, byIndex);

    const tally = new CountTally(request.by);
    const slices = new TimeSlices(request, newestOf(request));
    while (leftMs() > LEAST_MS) {
      const startedMs = performance.now();
      const source = (values: Values) => sliceSource(request, slices.current, values);
      // One that takes longer is tried again in parts.
      const timeMs = Math.min(leftMs(), Math.max(leftMs() / 2, SLICE_TIMEOUT_MS));
      const rows = await read(source, MAX_TALLIED_VALUES + 1, timeMs);
      if (rows === undefined) slices.narrow();
      else if (tally.size + rows.length > MAX_TALLIED_VALUES) {
        const all = await whole((values) => sliceSource(request, {}, values), leftMs());
        if (all) return tallyOf(request, all);
        break;
      } else {
        tally.add(rows);
        if (!slices.advance(performance.now() - startedMs)) return tally.result();
      }
    }
    return { ...tally.result(), countedFrom: slices.countedFrom };
  }
}

/** More than the buckets of any range. */
const ALL_BUCKETS = 2 * MAX_BUCKETS;

/** The counts of a statement that saw all events. */
function tallyOf({ by }: CountRequest, rows: readonly CountRow[]): Tally {
  const tally = new CountTally(by);
  tally.add(rows);
  return { ...tally.result(), distinct: Number(rows[0]?.[5] ?? 0) };
}

function totalOf(rows: readonly CountRow[]): number {
  return Number(rows[0]?.[4] ?? 0);
}

/** No event is later. */
function newestOf({ to = Infinity }: TimeSlice): Micros {
  return Math.min(to, (wallClockMs() + MAX_AHEAD_MS) * 1000);
}

/** The range of a filter and its query, to the microsecond. */
function rangeOf(filter: AuditEventFilter): TimeSlice {
  const query = filter.q === undefined ? {} : parseEventQuery(filter.q).filter;
  const [starts, ends] = [
    [filter.startDate, query.startDate].flatMap((at) => (at ? [at.micros] : [])),
    [filter.endDate, query.endDate].flatMap((at) =>
      at ? [at.micros + (at.submicros === '' ? 0 : 1)] : [],
    ),
  ];
  return {
    ...(starts.length > 0 ? { from: Math.max(...starts) } : {}),
    ...(ends.length > 0 ? { to: Math.min(...ends) } : {}),
  };
}

/** @throws AppError VALIDATION_FAILED */
function requireFewBuckets({ by, from, to, paths }: ParsedCount): void {
  if (!isByTime(by)) return;
  const refuse = (message: string) => validationFailed([{ path: paths.startDate, message }]);
  if (from === undefined) {
    throw refuse(`is required for counts by ${by}, of which a range may have ${MAX_BUCKETS}`);
  }
  const buckets = Math.ceil((newestOf({ to }) - from) / MICROS_PER[by]);
  if (buckets <= MAX_BUCKETS) return;
  throw refuse(
    `begins a range of ${buckets} ${by}s, of at most ${MAX_BUCKETS}: choose a shorter one${by === 'hour' ? ', or counts by day' : ''}`,
  );
}

/** SQLSTATE invalid_parameter_value: of all parameters, only a time zone has another meaning than its text. */
function isUnknownZone(error: unknown, { by }: CountRequest): boolean {
  return by === 'day' && (error as { code?: unknown } | null)?.code === '22023';
}

function unknownZone({ paths }: ParsedCount): Error {
  const message = 'is not a time zone that the database knows';
  return validationFailed([{ path: paths.timeZone, message }]);
}
