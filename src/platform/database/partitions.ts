import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import type { PoolClient } from 'pg';
import { abortable } from '../runtime/abort';
import { wallClockMs } from '../runtime/clocks';
import { Database } from './database';
import { isUnavailable, toDatabaseError } from './database-errors';
import { LockTable } from './lock-table';
import { MaintainedTables } from './maintained-tables';
import { covers, findPartitions, type Partition } from './partition-catalog';
import { type Creation, PartitionQueue } from './partition-queue';
import {
  boundText,
  calendarRange,
  coveredRanges,
  firstGap,
  freeRange,
  type TimeRange,
} from './partition-ranges';
import { isOutcomeUnknown } from './commit-outcome';
import { ownershipOf } from './privileges';

/** UTC month as `YYYY-MM`, the unit of writes and the shortest partition. */
export type Month = string;

const PARTITION_LOCK = 0x70617274; // "part" in ASCII
/** Setting that releases locks before a synchronous standby confirms: the events of a partition wait for it anyway. */
const LOCAL_COMMIT = 'SET LOCAL synchronous_commit = local';
/** Class of the lock (with the oid of the partition) that is held during a detachment. */
export const DETACH_LOCK = 0x64657463; // "detc"
/** Time that a write waits for the removal of its month. */
const DETACH_WAIT_MS = 5000;
/** Bound that sorts after every month. */
const AFTER_ALL = '~';
const MONTH = /^(\d{4})-(\d{2})$/;

/** Adds `count` months, which may be negative. */
export function addMonths(month: Month, count: number): Month {
  const [, year, number] = MONTH.exec(month) ?? [];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(number) - 1 + count, 1);
  return `${String(date.getUTCFullYear()).padStart(4, '0')}-${String(date.getUTCMonth() + 1).padStart(2, '0')}`;
}

/** Counts the months from `from` to `to`; negative when `to` is earlier. */
export function monthsBetween(from: Month, to: Month): number {
  const count = (month: Month) => Number(month.slice(0, 4)) * 12 + Number(month.slice(5));
  return count(to) - count(from);
}

/** Returns the month of an ISO 8601 instant in UTC (`2026-11-23T…Z` -> `2026-11`). */
export function monthOf(isoUtc: string): Month {
  return isoUtc.slice(0, 7);
}

/** Returns the current month and the `count` months after it. */
export function monthsAhead(count: number, now = new Date(wallClockMs())): Month[] {
  const current = monthOf(now.toISOString());
  return Array.from({ length: count + 1 }, (_, index) => addMonths(current, index));
}

/** Returns the months that are not wholly in partitions; partitions that are being detached do not count. */
export function missingMonths(partitions: readonly Partition[], months: readonly Month[]): Month[] {
  const covered = coveredRanges(partitions.filter(({ isDetaching }) => !isDetaching));
  return months.filter((month) => firstGap(covered, rangeOf(month)) !== undefined);
}

/** Months from (inclusive) and to (exclusive), ordered as text. */
interface MonthSpan {
  from: Month;
  to: Month;
}

type Step = { partitions: Partition[] } | { detaching: Partition };

/**
 * Range partitions of tables on `timestamp`, which are created ahead and on demand: monthly, and coarser for old events
 * (partition-ranges.ts).
 *
 * A partition is created as a table and then attached: ATTACH takes SHARE UPDATE EXCLUSIVE on the parent, which blocks
 * neither reads nor writes, while `CREATE TABLE … PARTITION OF` blocks both. A DEFAULT partition would be scanned under
 * a lock at every attach. A role that does not own the table calls `<table>_make_partition` and
 * `<table>_finish_detaching`, functions of the owner.
 */
@Injectable()
export class Partitions {
  /** Months with partitions by table; adjacent months are one span. */
  private readonly known = new Map<string, MonthSpan[]>();
  private readonly queue = new PartitionQueue(
    (table, month) => this.isKnown(table, month),
    () => monthsAhead(1),
  );
  private isMaking = false;
  /** Running removals by oid of the partition. */
  private readonly removals = new Map<number, Promise<void>>();
  private readonly locks = new LockTable(() => this.database.readerLimit);

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
  ) {}

  /**
   * Creates missing partitions, one at a time and for flows in rotation; known months need no statement. An abort
   * cancels the current creation in PostgreSQL.
   * @param flow the key of a tenant's queue.
   * @throws AppError as Database; the reason of the signal; RangeError for an invalid month.
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

  /** Tells whether all months have known partitions. */
  areKnown(table: string, months: Iterable<Month>): boolean {
    for (const month of months) if (!this.isKnown(table, month)) return false;
    return true;
  }

  /** Rereads known months after an insert found no partition: another replica may have dropped it. */
  async refresh(table: string, signal?: AbortSignal): Promise<void> {
    const found = await this.database.withClient(async (client) => {
      const partitions = await findPartitions(client, table);
      await this.locks.check(client, partitions.length);
      return partitions;
    }, signal);
    this.note(table, found);
  }

  /** Advice for a server with too few locks for statements about all partitions. */
  lockAdvice(partitions: number): string | undefined {
    return this.locks.adviceFor(partitions);
  }

  find(table: string, signal?: AbortSignal): Promise<Partition[]> {
    return this.database.withClient((client) => findPartitions(client, table), signal);
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
    this.makeAll().catch(() => undefined); // each creation is rejected separately
  }

  /** Settles each creation; never rejects. */
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
        if (isOutcomeUnknown(error)) return attempt(); // the partition may exist already
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
      // Other creations would wait for the same server one by one.
      if (isUnavailable(error)) this.queue.rejectAll(fault);
    }
  }

  /** Creates the partition around the first gap of a month; resolves with all partitions. */
  private async makeOne(client: PoolClient, table: string, month: Month): Promise<Step> {
    const found = await findPartitions(client, table);
    await this.locks.check(client, found.length);
    const seen = stepFor(found, month);
    if (!('gapMs' in seen)) return seen;
    await client.query(LOCAL_COMMIT);
    // Serializes replicas that need the same month.
    await client.query('SELECT pg_advisory_xact_lock($1)', [PARTITION_LOCK]);
    const step = stepFor(await findPartitions(client, table), month);
    if (!('gapMs' in step)) return step;
    await this.locks.check(client, step.partitions.length + 1);
    const { retentionDays = 0 } =
      this.tables.partitioned().find((one) => one.table === table) ?? {};
    if ((await ownershipOf(client, table)).isOwner) {
      const wanted = calendarRange(step.gapMs, wallClockMs(), retentionDays);
      await createPartition(client, table, freeRange(wanted, step.gapMs, step.partitions));
    } else {
      // A function of the owner does the same, so that all partitions have one owner.
      await client.query(`SELECT ${table}_make_partition($1::timestamptz, $2::int)`, [
        boundText(step.gapMs),
        retentionDays,
      ]);
    }
    return { partitions: await findPartitions(client, table) };
  }

  /** Removes a partition; callers that need its range wait, all others do not. */
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
   * Finishes an interrupted detachment, whose partition hides its rows and still occupies its range; waits for a session
   * that is detaching it.
   * @throws the error of `pg` on a lock timeout, when old transactions still use the partition.
   */
  private async finishDetaching(table: string, { oid, name }: Partition): Promise<void> {
    await this.database.transaction(async (client) => {
      await client.query(LOCAL_COMMIT);
      await client.query(`SET LOCAL lock_timeout = ${DETACH_WAIT_MS}`);
      await client.query('SELECT pg_advisory_xact_lock($1, $2::oid::int)', [DETACH_LOCK, oid]);
      const partitions = await findPartitions(client, table);
      if (!partitions.some((one) => one.oid === oid && one.isDetaching)) return;
      const { mayMaintain } = await ownershipOf(client, table);
      if (mayMaintain) await client.query(`ALTER TABLE ${table} DETACH PARTITION ${name} FINALIZE`);
      else await client.query(`SELECT ${table}_finish_detaching($1::oid)`, [oid]);
    });
  }
}

/** Unwraps a commit of unknown outcome, which had no events: no caller must be told that its events may be stored. */
function withoutOutcome(error: unknown): unknown {
  return isOutcomeUnknown(error) ? ((error as Error).cause ?? error) : error;
}

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

async function createPartition(client: PoolClient, table: string, range: TimeRange): Promise<void> {
  const name = await freeNameOf(client, table, range);
  // Identifiers and bounds cannot be parameters: the table's name comes from our code, and all else is digits.
  await client.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL)`);
  // ATTACH copies the triggers for rows, but not those for statements.
  const { rows } = await client.query<{ create: string }>(
    `SELECT format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
                   t.tgname, $2::text, t.tgfoid::regproc) AS create
     FROM pg_trigger t WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal AND t.tgtype & 32 <> 0`,
    [table, name],
  );
  for (const { create } of rows) await client.query(create);
  await client.query(
    `ALTER TABLE ${table} ATTACH PARTITION ${name}
     FOR VALUES FROM ('${boundText(range.lowerMs)}') TO ('${boundText(range.upperMs)}')`,
  );
}

/** Returns `table_YYYYMM`, or `table_YYYYMM_YYYYMM` beyond a month, suffixed when a detached table has it. */
async function freeNameOf(client: PoolClient, table: string, range: TimeRange): Promise<string> {
  const [first, last] = [range.lowerMs, range.upperMs - 1].map((ms) =>
    monthOf(new Date(ms).toISOString()).replace('-', ''),
  );
  const name = first === last ? `${table}_${first}` : `${table}_${first}_${last}`;
  const { rows } = await client.query('SELECT WHERE to_regclass($1) IS NOT NULL', [name]);
  return rows.length === 0 ? name : `${name}_${randomBytes(4).toString('hex')}`;
}

/** @throws RangeError for an invalid month. */
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
