import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import type { PoolClient } from 'pg';
import { abortable } from '../runtime/abort';
import { wallClockMs } from '../runtime/clocks';
import { Database } from './database';
import { isUnavailable, toDatabaseError } from './database-errors';
import { MaintainedTables } from './maintained-tables';
import { covers, findPartitions, type Partition } from './partition-catalog';
import { type Creation, PartitionQueue } from './partition-queue';
import {
  calendarRange,
  coveredRanges,
  firstGap,
  freeRange,
  type TimeRange,
} from './partition-ranges';
import { isOutcomeUnknown } from './unknown-outcome';

/** A month of UTC as `YYYY-MM`: the unit of what writes ask for, and the shortest partition. */
export type Month = string;

const PARTITION_LOCK = 0x70617274; // "part" in ASCII
/** Locks are not held until a synchronous standby answers: events in a partition wait for it themselves. */
const LOCAL_COMMIT = 'SET LOCAL synchronous_commit = local';
/** Held, with the oid of the partition, while it is detached. */
export const DETACH_LOCK = 0x64657463; // "detc"
/** How long a write into a month that is being removed waits for that. */
const DETACH_WAIT_MS = 5000;
/** Sorts after every month. */
const AFTER_ALL = '~';
const MONTH = /^(\d{4})-(\d{2})$/;

/** The month after (or, with a negative count, before) the given one. */
export function addMonths(month: Month, count: number): Month {
  const [, year, number] = MONTH.exec(month) ?? [];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(number) - 1 + count, 1);
  return `${String(date.getUTCFullYear()).padStart(4, '0')}-${String(date.getUTCMonth() + 1).padStart(2, '0')}`;
}

/** How many months `to` comes after `from`; negative when before. */
export function monthsBetween(from: Month, to: Month): number {
  const count = (month: Month) => Number(month.slice(0, 4)) * 12 + Number(month.slice(5));
  return count(to) - count(from);
}

/** The month of an ISO 8601 instant in UTC (`2026-11-23T…Z` -> `2026-11`). */
export function monthOf(isoUtc: string): Month {
  return isoUtc.slice(0, 7);
}

/** The current month and `count` after it. */
export function monthsAhead(count: number, now = new Date(wallClockMs())): Month[] {
  const current = monthOf(now.toISOString());
  return Array.from({ length: count + 1 }, (_, index) => addMonths(current, index));
}

/** Those of `months` that are not wholly in partitions; a detaching one counts for nothing. */
export function missingMonths(partitions: readonly Partition[], months: readonly Month[]): Month[] {
  const covered = coveredRanges(partitions.filter(({ isDetaching }) => !isDetaching));
  return months.filter((month) => firstGap(covered, rangeOf(month)) !== undefined);
}

/** Months from (inclusive) and to (exclusive), which sort as text. */
interface MonthSpan {
  from: Month;
  to: Month;
}

/** The next step to a partition: done, or another one in its range has to be removed first. */
type Step = { partitions: Partition[] } | { detaching: Partition };

/**
 * Range partitions of a table on its `timestamp`, made ahead and on demand: by month, and coarser for what is old
 * (partition-ranges.ts).
 *
 * A partition is created as a table of its own and then attached: ATTACH takes SHARE UPDATE EXCLUSIVE on the parent,
 * which neither reads nor writes wait for, where `CREATE TABLE … PARTITION OF` would lock both out. A DEFAULT partition
 * would have to be scanned under a lock at every attach.
 */
@Injectable()
export class Partitions {
  /** Months that each table is known to have partitions for. Neighbours are one span, so there are few. */
  private readonly known = new Map<string, MonthSpan[]>();
  private readonly queue = new PartitionQueue(
    (table, month) => this.isKnown(table, month),
    () => monthsAhead(1),
  );
  private isMaking = false;
  /** Removals under way, by the oid of the partition. */
  private readonly removals = new Map<number, Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
  ) {}

  /**
   * Makes the partitions of these months exist; free for known months. One is made at a time, for the waiting flows in
   * rotation. When the signal aborts, the one under way is cancelled in PostgreSQL.
   * @param flow the key of a tenant's queue.
   * @throws AppError as Database; the reason of the signal; RangeError for what is not a month.
   */
  async ensure(
    table: string,
    months: Iterable<Month>,
    signal?: AbortSignal,
    flow = '',
  ): Promise<void> {
    const missing = new Set<Month>();
    for (const month of months) if (!this.isKnown(table, month)) missing.add(month);
    if (missing.size === 0) return;
    for (const month of missing) rangeOf(month);
    signal?.throwIfAborted();
    const made = this.queue.add({ table, months: missing, flow, signal });
    this.start();
    await made;
  }

  /** Whether these months are known to have their partitions. */
  areKnown(table: string, months: Iterable<Month>): boolean {
    for (const month of months) if (!this.isKnown(table, month)) return false;
    return true;
  }

  async ensureAhead(table: string, ahead: number, now = new Date(wallClockMs())): Promise<void> {
    await this.ensure(table, monthsAhead(ahead, now));
  }

  /** Reads which months have a partition, after an insert found none: another replica may have dropped it. */
  async refresh(table: string, signal?: AbortSignal): Promise<void> {
    this.note(table, await this.find(table, signal));
  }

  find(table: string, signal?: AbortSignal): Promise<Partition[]> {
    return this.database.withClient((client) => findPartitions(client, table), signal);
  }

  /** The months in which the partitions of `table` begin, oldest first. */
  async list(table: string): Promise<Month[]> {
    return (await this.find(table)).flatMap(({ lowerMs, isDetaching }) =>
      lowerMs === null || isDetaching ? [] : [monthOf(new Date(lowerMs).toISOString())],
    );
  }

  private isKnown(table: string, month: Month): boolean {
    const spans = this.known.get(table);
    return spans !== undefined && spans.some(({ from, to }) => from <= month && month < to);
  }

  private note(table: string, partitions: readonly Partition[]): void {
    const seen = partitions.filter(({ isDetaching }) => !isDetaching);
    this.known.set(table, coveredRanges(seen).map(monthsIn));
  }

  private start(): void {
    this.makeAll().catch(() => undefined); // each creation is rejected by itself
  }

  /** Makes the queued partitions, one at a time. Never rejects. */
  private async makeAll(): Promise<void> {
    if (this.isMaking) return;
    this.isMaking = true;
    try {
      for (let next = this.queue.dequeue(); next; next = this.queue.dequeue())
        await this.makeNext(next);
    } finally {
      this.isMaking = false;
    }
  }

  private async makeNext(creation: Creation): Promise<void> {
    const { table, signal } = creation;
    try {
      const month = this.queue.firstOf(creation);
      const attempt = (): Promise<Step> =>
        this.database.transaction((client) => this.makeOne(client, table, month), { signal });
      const step = await attempt().catch((error: unknown) => {
        if (isOutcomeUnknown(error)) return attempt(); // a second one finds what the first has made
        throw error;
      });
      if ('partitions' in step) {
        this.note(table, step.partitions);
        this.queue.requeue(creation);
      } else {
        this.makeAfterRemoval(creation, step.detaching).catch(creation.reject);
      }
    } catch (failure) {
      const error = withoutOutcome(failure);
      const fault = toDatabaseError(error);
      creation.reject(signal?.aborted ? (signal.reason as Error) : fault);
      // Each of the others would wait for the same server, one after the other.
      if (isUnavailable(error)) this.queue.rejectAll(fault);
    }
  }

  /** In a transaction: makes the partition around the first gap of a month. Resolves with all partitions then. */
  private async makeOne(client: PoolClient, table: string, month: Month): Promise<Step> {
    const seen = stepFor(await findPartitions(client, table), month);
    if (!('gapMs' in seen)) return seen;
    await client.query(LOCAL_COMMIT);
    // Replicas that need the same month at once make it one after the other.
    await client.query('SELECT pg_advisory_xact_lock($1)', [PARTITION_LOCK]);
    const step = stepFor(await findPartitions(client, table), month);
    if (!('gapMs' in step)) return step;
    const { retentionDays = 0 } =
      this.tables.partitioned().find((one) => one.table === table) ?? {};
    const wanted = calendarRange(step.gapMs, wallClockMs(), retentionDays);
    const { lowerMs, upperMs } = freeRange(wanted, step.gapMs, step.partitions);
    const name = await freeNameOf(client, table, { lowerMs, upperMs });
    // Identifiers and bounds cannot be parameters; the table comes from our code, all else is made of digits.
    await client.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL)`);
    await client.query(
      `ALTER TABLE ${table} ATTACH PARTITION ${name}
       FOR VALUES FROM ('${boundOf(lowerMs)}') TO ('${boundOf(upperMs)}')`,
    );
    return { partitions: await findPartitions(client, table) };
  }

  /** Only callers that need what is being removed wait for the end of its removal. */
  private async makeAfterRemoval(creation: Creation, detaching: Partition): Promise<void> {
    const { table, signal } = creation;
    const { oid } = detaching;
    const removal =
      this.removals.get(oid) ??
      this.finishDetaching(table, detaching).finally(() => this.removals.delete(oid));
    this.removals.set(oid, removal);
    try {
      await (signal ? abortable(removal, signal) : removal);
      this.queue.requeue(creation);
      this.start();
    } catch (error) {
      creation.reject(toDatabaseError(withoutOutcome(error)));
    }
  }

  /**
   * A detaching partition hides its rows and still occupies its range. Waits for the session that detaches it, and
   * finishes that if it was interrupted.
   * @throws what `pg` throws on a lock timeout, when old transactions still use it.
   */
  private async finishDetaching(table: string, { oid, name }: Partition): Promise<void> {
    await this.database.transaction(async (client) => {
      await client.query(LOCAL_COMMIT);
      await client.query(`SET LOCAL lock_timeout = ${DETACH_WAIT_MS}`);
      await client.query('SELECT pg_advisory_xact_lock($1, $2::oid::int)', [DETACH_LOCK, oid]);
      const partitions = await findPartitions(client, table);
      if (!partitions.some((one) => one.oid === oid && one.isDetaching)) return;
      await client.query(`ALTER TABLE ${table} DETACH PARTITION ${name} FINALIZE`);
    });
  }
}

/** The fault of a commit of unknown outcome: it held no event, so no caller is to hear that theirs may be stored. */
function withoutOutcome(error: unknown): unknown {
  return isOutcomeUnknown(error) ? ((error as Error).cause ?? error) : error;
}

/** The next step for a month: none, to wait for a removal, or to make a partition around `gapMs`. */
function stepFor(
  partitions: Partition[],
  month: Month,
): Step | { gapMs: number; partitions: Partition[] } {
  const covered = coveredRanges(partitions.filter(({ isDetaching }) => !isDetaching));
  const gapMs = firstGap(covered, rangeOf(month));
  if (gapMs === undefined) return { partitions };
  const detaching = partitions.find((one) => one.isDetaching && covers(one, gapMs));
  return detaching ? { detaching } : { gapMs, partitions };
}

/**
 * `table_YYYYMM`, or `table_YYYYMM_YYYYMM` for more than a month; with a suffix when a detached table has that name.
 */
async function freeNameOf(client: PoolClient, table: string, range: TimeRange): Promise<string> {
  const [first, last] = [range.lowerMs, range.upperMs - 1].map((ms) =>
    monthOf(new Date(ms).toISOString()).replace('-', ''),
  );
  const name = first === last ? `${table}_${first}` : `${table}_${first}_${last}`;
  const { rows } = await client.query('SELECT WHERE to_regclass($1) IS NOT NULL', [name]);
  return rows.length === 0 ? name : `${name}_${randomBytes(4).toString('hex')}`;
}

/** @throws RangeError when it is not a month. */
function rangeOf(month: Month): TimeRange {
  const [, year, number] = MONTH.exec(month) ?? [];
  if (year === undefined || number === undefined) throw new RangeError(`Not a month: ${month}`);
  const startOf = (index: number) => new Date(0).setUTCFullYear(Number(year), index, 1);
  return { lowerMs: startOf(Number(number) - 1), upperMs: startOf(Number(number)) };
}

function monthsIn({ lowerMs, upperMs }: TimeRange): MonthSpan {
  const [first, end] = [rangeOf('0001-01').lowerMs, rangeOf('9999-12').upperMs];
  const monthAt = (ms: number) => monthOf(new Date(ms).toISOString());
  const to = upperMs >= end ? AFTER_ALL : monthAt(Math.max(upperMs, first));
  if (lowerMs <= first) return { from: '0001-01', to };
  if (lowerMs >= end) return { from: AFTER_ALL, to };
  const month = monthAt(lowerMs);
  return { from: rangeOf(month).lowerMs === lowerMs ? month : addMonths(month, 1), to };
}

/** An instant as a bound, to the microsecond: partitions that operators made may begin and end anywhere. */
function boundOf(ms: number): string {
  const wholeMs = Math.floor(ms);
  const micros = String(Math.round((ms - wholeMs) * 1000)).padStart(3, '0');
  return `${new Date(wholeMs).toISOString().slice(0, -1)}${micros}Z`;
}
