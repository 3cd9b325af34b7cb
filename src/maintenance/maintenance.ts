import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { PoolClient } from 'pg';
import { deleteExpired, PartitionRetention } from './retention';
import { removeLeftoverIndexes } from './index-maintenance';
import { MaintenanceRun } from './maintenance-run';
import { databaseConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { isUnavailable } from '../platform/database/database-errors';
import type { DedicatedPool } from '../platform/database/dedicated-pool';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { monthsAhead, Partitions } from '../platform/database/partitions';
import { ownershipOf } from '../platform/database/privileges';
import { withSessionLock } from '../platform/database/session-lock';
import { wallClockMs, wallClockText } from '../platform/runtime/clocks';
import { TIMED_OUT, withTimeout } from '../platform/runtime/abort';

const MAINTENANCE_LOCK = 0x75706b70; // "upkp" in ASCII
/** Limit of a statement; a longer one is cancelled, and retried in the next run. */
const STATEMENT_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 5000;
/** Limit of a wait for a lock, as writers queue behind the statement that waits. */
const LOCK_TIMEOUT_MS = 3000;
const CANCEL_EVERY_MS = 200;
/** Time of the first run: late enough not to delay the boot, early enough for processes that end within the hour. */
const FIRST_AFTER_MS = 1000;
const FIRST_WITHIN_MS = 9000;
/** Random part of the interval, by which replicas that started together run at different times. */
const JITTER = 0.1;

const MAINTENANCE_TASKS = ['partitions', 'retention', 'expired_rows', 'leftover_indexes'] as const;
type MaintenanceTask = (typeof MAINTENANCE_TASKS)[number];
/** Tasks that a role without the tables leaves undone, which is no failure. */
const LEFT_BY_SERVERS = MAINTENANCE_TASKS.filter((task) => task !== 'partitions');

interface MaintenanceResult {
  startedAt: string;
  durationMs: number;
  droppedPartitions: string[];
  postponed: { partition: string; reason: string }[];
  droppedIndexes: string[];
  expiredRows: Record<string, number>;
  failures: string[];
  undoneTasks: Set<MaintenanceTask>;
}

/**
 * Creates partitions ahead, drops expired months, deletes expired rows and leftover indexes. One replica works at a time,
 * under an advisory lock of its session, which ends with the process. Statements are short or concurrent, and limited in
 * time; unfinished work is left for the next run. Runs soon after the boot, then every
 * DATABASE_UPKEEP_INTERVAL_SECONDS.
 */
@Injectable()
export class Maintenance implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Maintenance.name);
  private readonly pool: DedicatedPool;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<MaintenanceResult | undefined> | undefined;
  private backend: number | undefined;
  private isStopping = false;
  private last: MaintenanceResult | undefined;
  /** Time of the last success in this process, in milliseconds since 1970; 0 for none. */
  private readonly succeededAtMs: Record<MaintenanceTask, number> = {
    partitions: 0,
    retention: 0,
    expired_rows: 0,
    leftover_indexes: 0,
  };
  private isRoleReported = false;

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
    private readonly partitions: Partitions,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {
    this.pool = database.dedicatedPool('upkeep', {
      max: 1,
      timeoutMs: STATEMENT_TIMEOUT_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    });
  }

  onApplicationBootstrap(): void {
    const intervalMs = this.config.upkeepIntervalSeconds * 1000;
    if (intervalMs === 0) return;
    const firstMs = FIRST_AFTER_MS + Math.random() * FIRST_WITHIN_MS;
    this.runAfter(Math.min(firstMs, intervalMs), intervalMs);
  }

  private runAfter(delayMs: number, intervalMs: number): void {
    if (this.isStopping) return;
    this.timer = setTimeout(() => {
      this.run()
        .catch((error: unknown) =>
          this.logger.warn(`The upkeep did not run: ${String(error)} It is tried again.`),
        )
        .finally(() =>
          this.runAfter(intervalMs * (1 - JITTER + 2 * JITTER * Math.random()), intervalMs),
        );
    }, delayMs).unref();
  }

  /**
   * Runs maintenance, or joins the current run. Resolves with undefined when another replica has the lock.
   * @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is not reached.
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

  lastRun(): MaintenanceResult | undefined {
    return this.last;
  }

  /**
   * Times of the last success of each task in this process, in seconds since 1970; 0 for none, also without an interval,
   * so that the metrics of all replicas show when none does maintenance.
   */
  lastSuccessSeconds(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.succeededAtMs).map(([task, atMs]) => [task, atMs / 1000]),
    );
  }

  /** Cancels the run; at worst a month is hidden and is dropped by the next run. */
  async onModuleDestroy(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.timer);
    const ended = this.running?.catch(() => undefined);
    while (ended && (await withTimeout(ended, CANCEL_EVERY_MS)) === TIMED_OUT) {
      if (this.backend === undefined) continue;
      await this.database
        .withClient((client) => client.query('SELECT pg_cancel_backend($1)', [this.backend]))
        .catch(() => undefined);
    }
  }

  private async runOnce(client: PoolClient): Promise<MaintenanceResult | undefined> {
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    // Locks must not be held while a synchronous standby is missing; nothing is acknowledged here.
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
    const result: MaintenanceResult = {
      startedAt: wallClockText(),
      durationMs: 0,
      droppedPartitions: [],
      postponed: [],
      droppedIndexes: [],
      expiredRows: {},
      failures: [],
      undoneTasks: new Set(),
    };
    for (const table of this.tables.partitioned()) {
      await this.attempt(result, 'partitions', table.table, async () => {
        await this.partitions.refresh(table.table);
        await this.partitions.ensure(table.table, monthsAhead(table.ahead));
      });
    }
    if (await this.mayMaintain(client)) await this.removeOutdated(client, result);
    else for (const task of LEFT_BY_SERVERS) result.undoneTasks.add(task);
    result.durationMs = Math.round(performance.now() - startMs);
    this.noteSuccesses(result);
    this.last = result;
    this.log(result);
    return result;
  }

  private async removeOutdated(client: PoolClient, result: MaintenanceResult): Promise<void> {
    for (const table of this.tables.partitioned()) {
      await this.attempt(result, 'retention', table.table, async () => {
        const retention = new PartitionRetention(client, table, () => this.isStopping);
        const { dropped, postponed } = await retention.run();
        result.droppedPartitions.push(...dropped);
        result.postponed.push(...postponed);
        if (dropped.length + postponed.length > 0) await this.partitions.refresh(table.table);
      });
    }
    for (const table of this.tables.expiring()) {
      await this.attempt(result, 'expired_rows', table.table, async () => {
        result.expiredRows[table.table] = await deleteExpired(client, table, () => this.isStopping);
      });
    }
    await this.attempt(result, 'leftover_indexes', undefined, () =>
      this.removeLeftovers(client, result),
    );
  }

  /** Tells whether the role owns the tables; warns once when it does not, as a replica that does has to remove old events. */
  private async mayMaintain(client: PoolClient): Promise<boolean> {
    for (const { table } of this.tables.partitioned()) {
      const { role, owner, mayMaintain } = await ownershipOf(client, table);
      if (mayMaintain) continue;
      if (!this.isRoleReported) {
        this.logger.warn(
          `The role ${role} is no member of ${owner}, the owner of ${table}: this replica makes partitions ahead, and ` +
            'retention, expired rows and leftover indexes are left to a replica with the maintenance role ' +
            '(docs/operations.md, "Three roles").',
        );
      }
      this.isRoleReported = true;
      return false;
    }
    return true;
  }

  /** Drops leftover indexes. One that cannot be dropped is no failure, as an operator may be rebuilding it. */
  private async removeLeftovers(client: PoolClient, result: MaintenanceResult): Promise<void> {
    const run = new MaintenanceRun(
      client,
      performance.now() + STATEMENT_TIMEOUT_MS,
      LOCK_TIMEOUT_MS,
    );
    for (const { index, action, reason } of await removeLeftoverIndexes(run)) {
      if (action === 'dropped') result.droppedIndexes.push(index);
      else this.logger.warn(`${index} is of no use and stays for now: ${reason}`);
    }
    await client.query('RESET statement_timeout');
  }

  /** Runs a task; its failure does not prevent the others. */
  private async attempt(
    result: MaintenanceResult,
    kind: MaintenanceTask,
    table: string | undefined,
    work: () => Promise<void>,
  ): Promise<void> {
    if (this.isStopping) {
      result.undoneTasks.add(kind);
      return;
    }
    try {
      await work();
    } catch (error) {
      if (isUnavailable(error)) throw error;
      result.undoneTasks.add(kind);
      const task = kind.replace('_', ' ') + (table === undefined ? '' : ` of ${table}`);
      const { cause = error } = error as { cause?: unknown };
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.logger.warn(`Maintenance: ${task} failed and is tried again next time: ${reason}.`);
      result.failures.push(task);
    }
  }

  /** Records the time of each task that has succeeded for all tables. */
  private noteSuccesses({ undoneTasks }: MaintenanceResult): void {
    for (const task of MAINTENANCE_TASKS) {
      if (!undoneTasks.has(task)) this.succeededAtMs[task] = wallClockMs();
    }
  }

  private log(result: MaintenanceResult): void {
    const rows = Object.entries(result.expiredRows).filter(([, count]) => count > 0);
    const done = [
      ...[...result.droppedPartitions, ...result.droppedIndexes].map((name) => `dropped ${name}`),
      ...rows.map(([table, count]) => `deleted ${count} rows of ${table}`),
    ];
    if (done.length === 0) return;
    this.logger.log(`Maintenance took ${result.durationMs} ms: ${done.join(', ')}.`);
  }
}
