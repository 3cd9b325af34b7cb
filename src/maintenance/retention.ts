import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';
import { isUnavailable } from '../platform/database/database-errors';
import type { ExpiringTable, PartitionedTable } from '../platform/database/maintained-tables';
import {
  findLeftoverPartitions,
  findPartitions,
  type Leftover,
  markExpired,
  type Partition,
} from '../platform/database/partition-catalog';
import { DETACH_LOCK } from '../platform/database/partitions';
import { confirmedWallClockMs, hasRunForADay } from '../platform/runtime/clocks';

const DAY_MS = 86_400_000;
/** Limit of expired rows in one statement, which works and locks for some milliseconds. */
const BATCH_ROWS = 1000;
const UNCONFIRMED =
  'the clock is not confirmed: this process runs for less than a day, and no event was stored one to two days ago';

interface RetentionOutcome {
  dropped: string[];
  /** Partitions that are left for the next run, with the reason. */
  postponed: { partition: string; reason: string }[];
}

/**
 * Removes expired partitions of a table without blocking: DETACH … CONCURRENTLY hides a partition at once, waits at most
 * `lock_timeout` for transactions that still use the table, and only then locks the partition, which is no longer used.
 * The next run finishes an interrupted removal: an unfinished detach, or a detached table with our mark.
 */
export class PartitionRetention {
  private readonly logger = new Logger(PartitionRetention.name);
  private readonly dropped: string[] = [];
  private readonly postponed: RetentionOutcome['postponed'] = [];

  /**
   * @param client a session for this work alone, outside a transaction.
   * @param isStopping ends the work between two steps.
   */
  constructor(
    private readonly client: ClientBase,
    private readonly table: PartitionedTable,
    private readonly isStopping: () => boolean,
  ) {}

  async run(): Promise<RetentionOutcome> {
    const { dropped, postponed } = this;
    await this.removeExpired();
    return { dropped, postponed };
  }

  private async removeExpired(): Promise<void> {
    const { table, retentionDays } = this.table;
    if (retentionDays <= 0) return;
    const nowMs = await this.nowMs();
    const isOver = ({ upperMs }: { upperMs: number | null }) =>
      isExpired(upperMs, nowMs, retentionDays);
    const partitions = await findPartitions(this.client, table);
    if (!(await this.isConfirmed(nowMs))) return this.postpone(partitions.filter(isOver));
    for (const partition of partitions) {
      if (this.isStopping()) return;
      if (!partition.isDetaching && !isOver(partition)) continue;
      await this.attempt(partition.name, () => this.remove(partition));
    }
    for (const leftover of await findLeftoverPartitions(this.client, table)) {
      if (this.isStopping()) return;
      const wasTried = this.postponed.some(({ partition }) => partition === leftover.name);
      if (!isOver(leftover) || wasTried) continue;
      await this.attempt(leftover.name, () => this.drop(leftover));
    }
  }

  /**
   * Checks that the clocks are right: both can be years ahead since the process started. Only rows that were stored
   * before prove them right: those of the day before yesterday, as a wrong clock may have dated those of the last day.
   */
  private async isConfirmed(nowMs: number): Promise<boolean> {
    if (hasRunForADay()) return true;
    const found = this.table.wasRecordedBetween?.(this.client, nowMs - 2 * DAY_MS, nowMs - DAY_MS);
    return (await found) ?? false;
  }

  private postpone(expired: Partition[]): void {
    if (expired.length === 0) return;
    this.postponed.push(...expired.map(({ name }) => ({ partition: name, reason: UNCONFIRMED })));
    this.logger.warn(`${expired.length} partitions stay for now: ${UNCONFIRMED}.`);
  }

  /** Reads the earlier one of both clocks: a clock that is ahead, or a step of both, must not cost data. */
  private async nowMs(): Promise<number> {
    const { rows } = await this.client.query<{ now: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    );
    return Math.min(confirmedWallClockMs(), rows[0]?.now ?? 0);
  }

  /** Finishes an interrupted detach; an operator's table, which has no mark, is not dropped. */
  private async remove(partition: Partition): Promise<void> {
    const { name, upperMs, isDetaching } = partition;
    if (isDetaching || upperMs === null) return this.detach(partition);
    await markExpired(this.client, this.table.table, { name, upperMs });
    await this.detach(partition);
    // Without delay, as caches show these rows until `afterHidden` has run.
    await this.drop({ name, upperMs });
  }

  /** Detaches a partition. A writer of its month waits for the lock, and then creates a new partition. */
  private async detach({ oid, name, isDetaching }: Partition): Promise<void> {
    const key = [DETACH_LOCK, oid];
    await this.client.query('SELECT pg_advisory_lock($1, $2::oid::int)', key);
    try {
      await this.client.query(
        `ALTER TABLE ${this.table.table} DETACH PARTITION ${name} ${isDetaching ? 'FINALIZE' : 'CONCURRENTLY'}`,
      );
    } catch (error) {
      if (!isUnavailable(error)) await this.hide(oid, name);
      throw error;
    } finally {
      await this.client
        .query('SELECT pg_advisory_unlock($1, $2::oid::int)', key)
        .catch(() => undefined);
    }
  }

  private async hide(oid: number, name: string): Promise<void> {
    const { rows } = await this.client.query(
      'SELECT FROM pg_inherits WHERE inhrelid = $1::oid AND inhdetachpending',
      [oid],
    );
    if (rows.length > 0) await this.table.afterHidden?.(this.client, name);
  }

  private async drop({ name }: Leftover): Promise<void> {
    await this.table.afterHidden?.(this.client, name);
    await this.client.query(`DROP TABLE ${name}`);
    this.dropped.push(name);
  }

  private async attempt(partition: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isUnavailable(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      this.logger.warn(`${partition} is past its retention and stays for now: ${reason}.`);
      this.postponed.push({ partition, reason });
    }
  }
}

/**
 * Tells whether the exclusive upper bound of a partition is at least `retentionDays` of 24 hours before now, in any time
 * zone.
 * @param upperMs milliseconds since 1970; null for no upper bound, which never expires.
 * @param retentionDays 0 keeps everything for ever.
 */
export function isExpired(
  upperMs: number | null,
  nowMs: number,
  retentionDays: number,
): upperMs is number {
  if (retentionDays <= 0 || upperMs === null) return false;
  return upperMs <= nowMs - retentionDays * DAY_MS;
}

/**
 * Deletes expired rows, a batch in a transaction, and leaves locked rows for the next run. Resolves with the number of
 * deleted rows.
 */
export async function deleteExpired(
  client: ClientBase,
  { table, timeColumn, keepHours }: ExpiringTable,
  isStopping: () => boolean,
): Promise<number> {
  // Identifiers cannot be parameters; they come from our code.
  const text = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ${table} WHERE ${timeColumn} < now() - $1 * interval '1 hour'
      ORDER BY ${timeColumn} LIMIT ${BATCH_ROWS} FOR UPDATE SKIP LOCKED))`;
  let deleted = 0;
  while (!isStopping()) {
    const { rowCount } = await client.query(text, [keepHours]);
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < BATCH_ROWS) break;
  }
  return deleted;
}
