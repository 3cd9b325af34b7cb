import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ClientBase, PoolClient } from 'pg';
import type {
  DatabaseOptimizationResultDto,
  IndexOptimizationDto,
  PartitionOptimizationDto,
  TableMaintenanceDto,
} from './dto/responses.dto';
import {
  IndexMaintenance,
  rankIndexes,
  removeLeftoverIndexes,
  unseenIndexes,
} from './index-maintenance';
import { MaintenanceRun, OWN_RELATIONS, report } from './maintenance-run';
import { Sealing } from './sealing';
import { adviseSettings } from './settings-advice';
import { databaseConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import type { DedicatedPool } from '../platform/database/dedicated-pool';
import { MaintainedTables } from '../platform/database/maintained-tables';
import {
  missingMonths,
  type Month,
  monthsAhead,
  Partitions,
} from '../platform/database/partitions';
import { ownershipOf } from '../platform/database/privileges';
import { withSessionLock } from '../platform/database/session-lock';
import { AppError } from '../platform/errors/app-error';
import { TIMED_OUT, withTimeout } from '../platform/runtime/abort';
import { wallClockText } from '../platform/runtime/clocks';

const OPTIMIZE_LOCK = 0x6f70746d; // "optm" in ASCII
/** Limit of a run: less than the limit of a request (REQUEST_TIMEOUT_MS) and the wait of a shutdown. */
const BUDGET_MS = 20_000;
/** Part of the limit for partitions, so that a wait for their locks leaves time for the rest. */
const PARTITIONS_MS = 5000;
/** Part of the limit for the indexes of filters. */
const SEALING_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
/** Limit of a wait for a lock, as readers and writers queue behind the statement that waits. */
const LOCK_TIMEOUT_MS = 2000;
const RETRY_AFTER_SECONDS = 5;
/**
 * Settings of low impact: a pause of 2 ms for about every 20 dirtied pages
 * (https://www.postgresql.org/docs/current/runtime-config-resource.html#RUNTIME-CONFIG-RESOURCE-VACUUM-COST).
 */
const LOW_IMPACT_SETTINGS = [
  `SET lock_timeout = ${LOCK_TIMEOUT_MS}`,
  'SET max_parallel_maintenance_workers = 0',
  'SET vacuum_cost_delay = 2',
  'SET vacuum_cost_limit = 400',
  // No lock must be held until a synchronous standby confirms.
  'SET synchronous_commit = local',
];

/**
 * Maintenance on demand. It takes no lock for which readers or writers wait: VACUUM does not truncate, REINDEX and DROP
 * INDEX are CONCURRENTLY, and partitions are created apart and attached. It continues when the client disconnects, and
 * ends within twenty seconds.
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
    private readonly sealing: Sealing,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {
    this.pool = database.dedicatedPool('optimize', {
      max: 1,
      timeoutMs: BUDGET_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    });
  }

  /**
   * Does due work; one run at a time in all replicas.
   * @throws AppError CONFLICT while another run is in progress, DATABASE_UNAVAILABLE when PostgreSQL is not reached.
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
    const notOwned = await this.refusals(client);
    const leftovers = await removeLeftoverIndexes(run);
    const { vacuumed, analyzed } = await maintainTables(run);
    const { rebuilt, removed } = await this.indexes.rebuildBloated(run);
    const sealed = await this.seal();
    const usage = await run.read(rankIndexes);
    const suggestions = usage.found ? usage.found.suggestions : [unseenIndexes(usage.skipped)];
    const settings = await run.read(() => adviseSettings(client, this.config.poolMax));
    return {
      partitionOptimization,
      indexOptimization: [...notOwned, ...leftovers, ...removed, ...sealed, ...suggestions],
      maintenanceResults: {
        vacuumResults: vacuumed,
        analyzeResults: analyzed,
        reindexResults: rebuilt,
      },
      configOptimization: settings.found ?? [],
      timestamp: wallClockText(),
    };
  }

  /** Reports tables that this role may not vacuum or reindex, whose work is skipped. */
  private async refusals(client: PoolClient): Promise<IndexOptimizationDto[]> {
    const refused: IndexOptimizationDto[] = [];
    for (const { table } of this.tables.partitioned()) {
      const { role, owner, mayMaintain } = await ownershipOf(client, table);
      if (mayMaintain) continue;
      const reason =
        `The role ${role} is no member of ${owner}, the owner of ${table}: tables are not vacuumed and indexes not rebuilt. ` +
        'Ask a replica with the maintenance role.';
      refused.push({ ...unseenIndexes(reason), table });
    }
    return refused;
  }

  /** Builds due indexes for filters; a build that takes longer continues after the response. */
  private async seal(): Promise<IndexOptimizationDto[]> {
    const built = await withTimeout(
      this.sealing.run().catch(() => undefined),
      SEALING_MS,
    );
    if (built === TIMED_OUT) {
      const reason = 'Indexes for filters are still being built; the next report shows them.';
      return [{ ...unseenIndexes(reason), table: this.tables.partitioned()[0]?.table ?? '(all)' }];
    }
    return (built ?? []).map(({ name, partition }) => ({
      index: name,
      table: partition,
      action: 'built',
      reason: 'An index for filters, over events that have cooled down.',
      sizeBytes: 0,
    }));
  }

  private async makePartitions(): Promise<PartitionOptimizationDto[]> {
    const deadline = AbortSignal.timeout(PARTITIONS_MS);
    const describeFault = (error: unknown): string => {
      if (deadline.aborted)
        return 'It did not fit into the time for partitions, and was cancelled.';
      return error instanceof AppError ? error.detail : 'It could not be made.';
    };
    const results: PartitionOptimizationDto[] = [];
    for (const { table, ahead } of this.tables.partitioned()) {
      const missing = await this.findMissing(table, ahead, deadline).catch((error: unknown) => {
        const [month = ''] = monthsAhead(0);
        const reason = `${describeFault(error)} Whether partitions are missing could not be seen.`;
        results.push({ table, month, action: 'skipped', reason });
        return [];
      });
      for (const month of missing) {
        const due = `It was missing: this month and ${ahead} more are made ahead.`;
        const skipped = await this.partitions
          .ensure(table, [month], deadline)
          .then(() => undefined, describeFault);
        results.push({ table, month, ...report('created', due, skipped) });
      }
    }
    return results;
  }

  /** Finds missing months in the catalogue, as other replicas create and drop partitions as well. */
  private async findMissing(table: string, ahead: number, deadline: AbortSignal): Promise<Month[]> {
    await this.partitions.refresh(table, deadline);
    return missingMonths(await this.partitions.find(table, deadline), monthsAhead(ahead));
  }
}

function alreadyRunning(): AppError {
  return new AppError('CONFLICT', 'The database is being optimized already.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}

/**
 * Share of autovacuum's limits from which work is due. Autovacuum waits for `threshold + scale_factor * rows` (by default
 * 50 + 20 % dead rows, 50 + 10 % changed rows,
 * https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM). Its limit of inserts, which only outdate
 * the visibility map, is not reduced.
 */
const SHARE_OF_AUTOVACUUM = 0.25;

interface TableState {
  name: string;
  liveRows: number;
  deadRows: number;
  deadLimit: number;
  inserted: number;
  insertLimit: number;
  changed: number;
  changeLimit: number;
}

interface Rule {
  kind: 'vacuumed' | 'analyzed';
  isDue: (table: TableState) => boolean;
  reason: (table: TableState) => string;
}

/** Work in order of preference; the first that is due is done. */
const RULES: Rule[] = [
  {
    kind: 'vacuumed',
    isDue: ({ deadRows, deadLimit }) => deadRows > deadLimit,
    reason: ({ deadRows, liveRows, deadLimit }) =>
      `${deadRows} dead rows beside ${liveRows} live ones (due from ${from(deadLimit)}).`,
  },
  {
    kind: 'vacuumed',
    isDue: ({ inserted, insertLimit }) => inserted > insertLimit,
    reason: ({ inserted, insertLimit }) =>
      `${inserted} rows inserted since the last VACUUM (due from ${from(insertLimit)}).`,
  },
  {
    kind: 'analyzed',
    isDue: ({ changed, changeLimit }) => changed > changeLimit,
    reason: ({ changed, changeLimit }) =>
      `${changed} rows changed since the last ANALYZE (due from ${from(changeLimit)}).`,
  },
];

/** VACUUM without truncation, which would lock the table exclusively. */
const STATEMENTS = { vacuumed: 'VACUUM (ANALYZE, TRUNCATE false)', analyzed: 'ANALYZE' };

/** Vacuums and analyses due tables; those with most dead rows first. */
async function maintainTables(
  run: MaintenanceRun,
): Promise<Record<Rule['kind'], TableMaintenanceDto[]>> {
  const done: Record<Rule['kind'], TableMaintenanceDto[]> = { vacuumed: [], analyzed: [] };
  for (const table of await findTables(run.client)) {
    const rule = RULES.find(({ isDue }) => isDue(table));
    if (!rule) continue;
    const { name, liveRows, deadRows } = table;
    const { durationMs, skipped } = await run.run(`${STATEMENTS[rule.kind]} ${name}`);
    const { rows } = await run.client.query<{ dead: number }>(
      'SELECT pg_stat_get_dead_tuples(to_regclass($1))::float8 AS dead',
      [name],
    );
    done[rule.kind].push({
      table: name,
      ...report('done', rule.reason(table), skipped),
      liveRows,
      deadRowsBefore: deadRows,
      deadRowsAfter: rows[0]?.dead ?? 0,
      durationMs,
    });
  }
  return done;
}

async function findTables(client: ClientBase): Promise<TableState[]> {
  const limit = (kind: string) => `(current_setting('autovacuum_${kind}_threshold')::float8
    + current_setting('autovacuum_${kind}_scale_factor')::float8 * greatest(c.reltuples, 0))`;
  const { rows } = await client.query<TableState>(
    `SELECT c.oid::regclass::text AS name, s.n_live_tup::float8 AS "liveRows", s.n_dead_tup::float8 AS "deadRows",
            ${limit('vacuum')} * $1 AS "deadLimit",
            s.n_ins_since_vacuum::float8 AS inserted, ${limit('vacuum_insert')} AS "insertLimit",
            s.n_mod_since_analyze::float8 AS changed, ${limit('analyze')} * $1 AS "changeLimit"
     FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
     WHERE c.relkind = 'r' AND ${OWN_RELATIONS} ORDER BY s.n_dead_tup DESC, 1`,
    [SHARE_OF_AUTOVACUUM],
  );
  return rows;
}

const from = (limitRows: number) => Math.floor(limitRows) + 1;
