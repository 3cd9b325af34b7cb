import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { wallClockText } from '../platform/runtime/clocks';
import { Database } from '../platform/database/database';
import { isUnavailable } from '../platform/database/database-errors';
import { deleteExpired } from './expiring-rows';
import { removeLeftoverIndexes } from './index-maintenance';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { MaintenanceRun } from './maintenance-run';
import { PartitionRetention } from './partition-retention';
import { Partitions } from '../platform/database/partitions';
import { withSessionLock } from '../platform/database/session-lock';
import type { DedicatedPool } from '../platform/database/dedicated-pool';

const MAINTENANCE_LOCK = 0x75706b70; // "upkp" in ASCII
/** A statement of upkeep that takes longer is cancelled, and tried again in the next round. */
const STATEMENT_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 5000;
/** How long a statement waits for a lock, or for transactions that began before it. Writers do not wait behind it. */
const LOCK_TIMEOUT_MS = 3000;
const CANCEL_EVERY_MS = 200;

/** What a round of upkeep did. */
export interface MaintenanceResult {
  startedAt: string;
  durationMs: number;
  droppedPartitions: string[];
  postponed: { partition: string; reason: string }[];
  /** Indexes that an interrupted REINDEX had left behind. */
  droppedIndexes: string[];
  /** Rows by table. */
  expiredRows: Record<string, number>;
  /** Tasks that failed, and why. */
  failures: string[];
}

/**
 * Keeps the database as it should be without anybody asking: partitions ahead of time, months past their retention
 * dropped, rows and indexes that are worth nothing any more deleted. One replica at a time does it, under an advisory lock of its session, so
 * one that dies frees it. Every statement is short or concurrent, and bounded; what does not fit is done next time.
 */
@Injectable()
export class Maintenance implements OnModuleDestroy {
  private readonly logger = new Logger(Maintenance.name);
  private readonly pool: DedicatedPool;
  private running: Promise<MaintenanceResult | undefined> | undefined;
  private backend: number | undefined;
  private isStopping = false;
  private last: MaintenanceResult | undefined;

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
    private readonly partitions: Partitions,
  ) {
    this.pool = database.dedicatedPool('upkeep', {
      max: 1,
      timeoutMs: STATEMENT_TIMEOUT_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    });
  }

  /**
   * Runs one round, or joins the one under way. Resolves with undefined when another replica is at it.
   * @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is away.
   */
  run(): Promise<MaintenanceResult | undefined> {
    if (this.isStopping) return Promise.resolve(undefined);
    this.running ??= this.pool
      .withClient((client) => this.runOnce(client))
      .finally(() => {
        this.running = undefined;
        this.backend = undefined;
      });
    return this.running;
  }

  /** The last round of this process. */
  lastRun(): MaintenanceResult | undefined {
    return this.last;
  }

  /** Cancels what runs: at the worst a month is hidden and not yet dropped, and the next round finishes it. */
  async onModuleDestroy(): Promise<void> {
    this.isStopping = true;
    const ended = this.running?.then(
      () => true,
      () => true,
    );
    while (ended && !(await Promise.race([ended, after(CANCEL_EVERY_MS)]))) {
      if (this.backend === undefined) continue;
      await this.database
        .withClient((client) => client.query('SELECT pg_cancel_backend($1)', [this.backend]))
        .catch(() => undefined);
    }
  }

  private async runOnce(client: PoolClient): Promise<MaintenanceResult | undefined> {
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    // Nobody is told that its work is done, and its locks are not to be held while a synchronous standby is away.
    await client.query('SET synchronous_commit = local');
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const done = await withSessionLock(client, MAINTENANCE_LOCK, () => {
      this.backend = rows[0]?.pid;
      return this.work(client);
    });
    return done?.result;
  }

  private async work(client: PoolClient): Promise<MaintenanceResult> {
    const startMs = performance.now();
    const round: MaintenanceResult = {
      startedAt: wallClockText(),
      durationMs: 0,
      droppedPartitions: [],
      postponed: [],
      droppedIndexes: [],
      expiredRows: {},
      failures: [],
    };
    for (const table of this.tables.partitioned()) {
      await this.attempt(round, `partitions of ${table.table}`, async () => {
        await this.partitions.refresh(table.table);
        await this.partitions.ensureAhead(table.table, table.ahead);
      });
      await this.attempt(round, `retention of ${table.table}`, async () => {
        const retention = new PartitionRetention(client, () => this.isStopping);
        const { dropped, postponed } = await retention.run(table);
        round.droppedPartitions.push(...dropped);
        round.postponed.push(...postponed);
        if (dropped.length + postponed.length > 0) await this.partitions.refresh(table.table);
      });
    }
    for (const table of this.tables.expiring()) {
      await this.attempt(round, `expired rows of ${table.table}`, async () => {
        round.expiredRows[table.table] = await deleteExpired(client, table, () => this.isStopping);
      });
    }
    await this.attempt(round, 'leftover indexes', () => this.removeLeftovers(client, round));
    round.durationMs = Math.round(performance.now() - startMs);
    this.last = round;
    this.log(round);
    return round;
  }

  /** What cannot be dropped now is no failure: it may be an index that an operator rebuilds at the moment. */
  private async removeLeftovers(client: PoolClient, round: MaintenanceResult): Promise<void> {
    const run = new MaintenanceRun(
      client,
      performance.now() + STATEMENT_TIMEOUT_MS,
      LOCK_TIMEOUT_MS,
    );
    for (const { index, action, reason } of await removeLeftoverIndexes(run)) {
      if (action === 'dropped') round.droppedIndexes.push(index);
      else this.logger.warn(`${index} is of no use and stays for now: ${reason}`);
    }
    await client.query('RESET statement_timeout');
  }

  /** One task that fails does not keep the others from being done. */
  private async attempt(
    round: MaintenanceResult,
    task: string,
    work: () => Promise<void>,
  ): Promise<void> {
    if (this.isStopping) return;
    try {
      await work();
    } catch (error) {
      if (isUnavailable(error)) throw error;
      const { cause = error } = error as { cause?: unknown };
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.logger.warn(`Upkeep: ${task} failed and is tried again next time: ${reason}.`);
      round.failures.push(task);
    }
  }

  private log({
    droppedPartitions,
    droppedIndexes,
    expiredRows,
    durationMs,
  }: MaintenanceResult): void {
    const rows = Object.entries(expiredRows).filter(([, count]) => count > 0);
    const what = [
      ...[...droppedPartitions, ...droppedIndexes].map((name) => `dropped ${name}`),
      ...rows.map(([table, count]) => `deleted ${count} rows of ${table}`),
    ];
    if (what.length === 0) return;
    this.logger.log(`Upkeep took ${durationMs} ms: ${what.join(', ')}.`);
  }
}

function after(delayMs: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), delayMs));
}
