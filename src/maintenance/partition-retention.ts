import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';
import { confirmedWallClockMs, hasRunForADay } from '../platform/runtime/clocks';
import { isUnavailable } from '../platform/database/database-errors';
import type { PartitionedTable } from '../platform/database/maintained-tables';
import {
  findLeftoverPartitions,
  findPartitions,
  type Leftover,
  markExpired,
  type Partition,
} from '../platform/database/partition-catalog';
import { DETACH_LOCK } from '../platform/database/partitions';

const DAY_MS = 86_400_000;
const UNCONFIRMED =
  'the clock is not confirmed: this process runs for less than a day, and no event was stored one to two days ago';

export interface RetentionOutcome {
  dropped: string[];
  /** Left for the next run, with the reason. */
  postponed: { partition: string; reason: string }[];
}

/**
 * Removes expired partitions without blocking: DETACH … CONCURRENTLY hides one at once, waits (at most the session's
 * `lock_timeout`) for transactions that still use the table, and only then locks the unused partition. The next run
 * finishes an interrupted removal: a detach under way, a detached table that carries our mark.
 */
export class PartitionRetention {
  private readonly logger = new Logger(PartitionRetention.name);

  /** Needs a session of its own, outside a transaction. `isStopping` ends it between two steps. */
  constructor(
    private readonly client: ClientBase,
    private readonly isStopping: () => boolean,
  ) {}

  async run(table: PartitionedTable): Promise<RetentionOutcome> {
    const outcome: RetentionOutcome = { dropped: [], postponed: [] };
    if (table.retentionDays <= 0) return outcome;
    const nowMs = await this.nowMs();
    const isOver = ({ upperMs }: { upperMs: number | null }) =>
      isExpired(upperMs, nowMs, table.retentionDays);
    if (!(await this.isConfirmed(table, nowMs))) return this.postponeAll(table, isOver, outcome);
    for (const partition of await findPartitions(this.client, table.table)) {
      if (this.isStopping()) return outcome;
      if (!partition.isDetaching && !isOver(partition)) continue;
      await this.attempt(outcome, partition.name, () => this.remove(table, partition, outcome));
    }
    for (const leftover of await findLeftoverPartitions(this.client, table.table)) {
      if (this.isStopping()) return outcome;
      const wasTried = outcome.postponed.some(({ partition }) => partition === leftover.name);
      if (!isOver(leftover) || wasTried) continue;
      await this.attempt(outcome, leftover.name, () => this.drop(table, leftover, outcome));
    }
    return outcome;
  }

  /**
   * Both clocks can be years ahead since the process started. Only rows stored before show it: those of the day before
   * yesterday, as the wrong clock may have dated those of the last day.
   */
  private async isConfirmed(table: PartitionedTable, nowMs: number): Promise<boolean> {
    if (hasRunForADay()) return true;
    const found = table.wasRecordedBetween?.(this.client, nowMs - 2 * DAY_MS, nowMs - DAY_MS);
    return (await found) ?? false;
  }

  private async postponeAll(
    { table }: PartitionedTable,
    isOver: (partition: Partition) => boolean,
    outcome: RetentionOutcome,
  ): Promise<RetentionOutcome> {
    for (const partition of (await findPartitions(this.client, table)).filter(isOver)) {
      outcome.postponed.push({ partition: partition.name, reason: UNCONFIRMED });
    }
    const { length } = outcome.postponed;
    if (length > 0) this.logger.warn(`${length} partitions stay for now: ${UNCONFIRMED}.`);
    return outcome;
  }

  /** The earlier clock: one that is ahead, or a step of both, must not cost data. */
  private async nowMs(): Promise<number> {
    const { rows } = await this.client.query<{ now: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    );
    return Math.min(confirmedWallClockMs(), rows[0]?.now ?? 0);
  }

  /** An interrupted detach may be an operator's: finished, but dropped only if marked. */
  private async remove(
    table: PartitionedTable,
    partition: Partition,
    outcome: RetentionOutcome,
  ): Promise<void> {
    const { name, upperMs, isDetaching } = partition;
    if (isDetaching || upperMs === null) return this.detach(table, partition);
    await markExpired(this.client, table.table, { name, upperMs });
    await this.detach(table, partition);
    // At once: caches show these rows until `afterHidden` has run.
    await this.drop(table, { name, upperMs }, outcome);
  }

  /** A writer of this month waits for the lock, and then makes a new partition. */
  private async detach(table: PartitionedTable, partition: Partition): Promise<void> {
    const { oid, name, isDetaching } = partition;
    const key = [DETACH_LOCK, oid];
    await this.client.query('SELECT pg_advisory_lock($1, $2::oid::int)', key);
    try {
      await this.client.query(
        `ALTER TABLE ${table.table} DETACH PARTITION ${name} ${isDetaching ? 'FINALIZE' : 'CONCURRENTLY'}`,
      );
    } catch (error) {
      if (!isUnavailable(error)) await this.hide(table, oid, name);
      throw error;
    } finally {
      await this.client
        .query('SELECT pg_advisory_unlock($1, $2::oid::int)', key)
        .catch(() => undefined);
    }
  }

  private async hide(table: PartitionedTable, oid: number, name: string): Promise<void> {
    const { rows } = await this.client.query(
      'SELECT FROM pg_inherits WHERE inhrelid = $1::oid AND inhdetachpending',
      [oid],
    );
    if (rows.length > 0) await table.afterHidden?.(this.client, name);
  }

  private async drop(
    table: PartitionedTable,
    { name }: Leftover,
    outcome: RetentionOutcome,
  ): Promise<void> {
    await table.afterHidden?.(this.client, name);
    await this.client.query(`DROP TABLE ${name}`);
    outcome.dropped.push(name);
  }

  private async attempt(
    outcome: RetentionOutcome,
    partition: string,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isUnavailable(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      this.logger.warn(`${partition} is past its retention and stays for now: ${reason}.`);
      outcome.postponed.push({ partition, reason });
    }
  }
}

/**
 * True when the exclusive upper bound is at least `retentionDays` of 24 hours before now: independent of time zones.
 * @param upperMs milliseconds since 1970; null: no upper bound, never expired.
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
