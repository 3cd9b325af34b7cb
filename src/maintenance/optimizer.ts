import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { PoolClient } from 'pg';
import { wallClockText } from '../platform/runtime/clocks';
import { databaseConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { Database } from '../platform/database/database';
import type {
  DatabaseOptimizationResultDto,
  PartitionOptimizationDto,
} from './dto/optimization-result.dto';
import { IndexMaintenance, removeLeftoverIndexes, unseenIndexes } from './index-maintenance';
import { rankIndexes } from './index-ranking';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { MaintenanceRun, report } from './maintenance-run';
import {
  missingMonths,
  type Month,
  monthsAhead,
  Partitions,
} from '../platform/database/partitions';
import { withSessionLock } from '../platform/database/session-lock';
import { adviseSettings } from './settings-advice';
import type { DedicatedPool } from '../platform/database/connection-loan';
import { maintainTables } from './table-maintenance';

const OPTIMIZE_LOCK = 0x6f70746d; // "optm" in ASCII
/** Less than a request may take (REQUEST_TIMEOUT_MS) and a shutdown waits. */
const BUDGET_MS = 20_000;
/** Part for partitions, so that their obstacles leave time for the rest. */
const PARTITIONS_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
/** Readers and writers do not queue after a statement that waits. */
const LOCK_TIMEOUT_MS = 2000;
const RETRY_AFTER_SECONDS = 5;
/**
 * Pause of 2 ms for about every 20 dirtied pages
 * (https://www.postgresql.org/docs/current/runtime-config-resource.html#RUNTIME-CONFIG-RESOURCE-VACUUM-COST).
 */
const LOW_IMPACT_SETTINGS = [
  `SET lock_timeout = ${LOCK_TIMEOUT_MS}`,
  'SET max_parallel_maintenance_workers = 0',
  'SET vacuum_cost_delay = 2',
  'SET vacuum_cost_limit = 400',
  // No lock is to be held until a synchronous standby confirms.
  'SET synchronous_commit = local',
];

/**
 * Maintenance on demand. Takes no lock that readers or writers wait for: VACUUM without truncation, REINDEX and DROP
 * INDEX only CONCURRENTLY, partitions made apart and attached. Goes on when the client disconnects, and ends within
 * twenty seconds.
 */
@Injectable()
export class Optimizer {
  private readonly pool: DedicatedPool;
  private readonly indexes = new IndexMaintenance();
  private isRunning = false;

  constructor(
    database: Database,
    private readonly tables: MaintainedTables,
    private readonly partitions: Partitions,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {
    this.pool = database.dedicatedPool('optimize', {
      max: 1,
      timeoutMs: BUDGET_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    });
  }

  /**
   * Does due work, once at a time over all replicas.
   * @throws AppError CONFLICT while another one runs, DATABASE_UNAVAILABLE when PostgreSQL is away.
   */
  async optimize(): Promise<DatabaseOptimizationResultDto> {
    if (this.isRunning) throw alreadyRunning();
    this.isRunning = true;
    try {
      const done = await this.pool.withClient(async (client) => {
        const found = await withSessionLock(client, OPTIMIZE_LOCK, () => this.work(client));
        await client.query('RESET ALL');
        return found;
      });
      if (!done) throw alreadyRunning();
      return done.result;
    } finally {
      this.isRunning = false;
    }
  }

  private async work(client: PoolClient): Promise<DatabaseOptimizationResultDto> {
    const run = new MaintenanceRun(client, performance.now() + BUDGET_MS, LOCK_TIMEOUT_MS);
    for (const statement of LOW_IMPACT_SETTINGS) await client.query(statement);
    const partitionOptimization = await this.makePartitions();
    const leftovers = await removeLeftoverIndexes(run);
    const { vacuumed, analyzed } = await maintainTables(run);
    const { rebuilt, removed } = await this.indexes.rebuildBloated(run);
    const usage = await run.read(rankIndexes);
    const suggestions = usage.found ? usage.found.suggestions : [unseenIndexes(usage.skipped)];
    const settings = await run.read(() => adviseSettings(client, this.config.poolMax));
    return {
      partitionOptimization,
      indexOptimization: [...leftovers, ...removed, ...suggestions],
      maintenanceResults: {
        vacuumResults: vacuumed,
        analyzeResults: analyzed,
        reindexResults: rebuilt,
      },
      configOptimization: settings.found ?? [],
      timestamp: wallClockText(),
    };
  }

  private async makePartitions(): Promise<PartitionOptimizationDto[]> {
    const deadline = AbortSignal.timeout(PARTITIONS_MS);
    const results: PartitionOptimizationDto[] = [];
    for (const { table, ahead } of this.tables.partitioned()) {
      const { missing = [], failure: unseen } = await this.findMissing(table, ahead, deadline);
      if (unseen !== undefined) results.push(unseenPartitions(table, unseen));
      for (const month of missing) {
        const due = `It was missing: this month and ${ahead} more are made ahead.`;
        const failure = await this.partitions.ensure(table, [month], deadline).then(
          () => undefined,
          (error: unknown) => whyNotMade(error, deadline),
        );
        results.push({ table, month, ...report('created', due, failure) });
      }
    }
    return results;
  }

  /** From the catalogue: another replica may have made or dropped some. */
  private async findMissing(
    table: string,
    ahead: number,
    deadline: AbortSignal,
  ): Promise<{ missing?: Month[]; failure?: string }> {
    try {
      await this.partitions.refresh(table, deadline);
      const found = await this.partitions.find(table, deadline);
      return { missing: missingMonths(found, monthsAhead(ahead)) };
    } catch (error) {
      return { failure: whyNotMade(error, deadline) };
    }
  }
}

function unseenPartitions(table: string, failure: string): PartitionOptimizationDto {
  const [month = ''] = monthsAhead(0);
  const reason = `${failure} Whether partitions are missing could not be seen.`;
  return { table, month, action: 'skipped', reason };
}

function whyNotMade(error: unknown, deadline: AbortSignal): string {
  if (deadline.aborted) return 'It did not fit into the time for partitions, and was cancelled.';
  return error instanceof AppError ? error.detail : 'It could not be made.';
}

function alreadyRunning(): AppError {
  return new AppError('CONFLICT', 'The database is being optimized already.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}
