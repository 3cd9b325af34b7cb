import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ClientBase, PoolClient } from 'pg';
import type {
  ComponentHealthDto,
  ConnectionPoolDto,
  DatabaseHealthStatusDto,
  DatabasePerformanceReportDto,
  HealthLevel,
  PartitionFiguresDto,
  QueryCacheDto,
  QueryPerformanceDto,
  SealedIndexFiguresDto,
} from './dto/responses.dto';
import { rankIndexes } from './index-maintenance';
import { Maintenance } from './maintenance';
import { measureSealedIndexes } from './sealed-index-report';
import { Sealing } from './sealing';
import { databaseConfig, serverConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { isUnavailable } from '../platform/database/database-errors';
import { MaintainedTables } from '../platform/database/maintained-tables';
import {
  findLeftoverPartitions,
  findPartitions,
  type Partition,
} from '../platform/database/partition-catalog';
import { missingMonths, monthsAhead } from '../platform/database/partitions';
import { MeasurementSources } from '../metrics/measurement-sources';
import { AppError } from '../platform/errors/app-error';
import { wallClockMs, wallClockText } from '../platform/runtime/clocks';
import { withDeadline } from '../platform/runtime/abort';

const GB = 1024 ** 3;
/** Minimum of reads from which PostgreSQL's hit ratio is meaningful. */
const LEAST_READS = 10_000;
const LOW_HIT_PERCENT = 95;
const DAY_MS = 86_400_000;
const LONGEST_MONTH_MS = 31 * DAY_MS;
const NAMED_STATEMENTS = 3;
const SHOWN_CHARACTERS = 120;
const LEVELS: HealthLevel[] = ['healthy', 'warning', 'critical'];
const MANY_SLOW = 10;
const SLOW_ACQUISITION_MS = 100;
const GOOD_SUCCESS_PERCENT = 99.9;
const BAD_SUCCESS_PERCENT = 95;
const NO_CACHE: QueryCacheDto = { hitRatio: null, totalSizeMB: null, evictions: null };

/** Reports the state of database, pool and partitions: figures, null where unknown, and their assessment. */
@Injectable()
export class DatabaseReport {
  private running: Promise<DatabasePerformanceReportDto> | undefined;

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
    private readonly sources: MeasurementSources,
    private readonly maintenance: Maintenance,
    private readonly sealing: Sealing,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  /**
   * Makes one report, on one connection, for all concurrent callers. PostgreSQL cancels it at the deadline of requests.
   * @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is not reached, REQUEST_TIMEOUT.
   */
  report(): Promise<DatabasePerformanceReportDto> {
    const late = () => new AppError('REQUEST_TIMEOUT', 'The report was not done in time.');
    this.running ??= withDeadline({ timeoutMs: this.server.requestTimeoutMs, late }, (signal) =>
      this.database.withClient((client) => this.make(client), signal),
    ).finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  /** Reports the figures with their assessment. @throws as `report`. */
  async status(): Promise<DatabaseHealthStatusDto> {
    const report = await this.report();
    const connectionPool = judgePool({
      ...report.connectionPool,
      maxConnections: this.config.poolMax,
    });
    // The hit ratio is not assessed here: its threshold belongs to the alerts (metrics).
    const queryCache: ComponentHealthDto = { status: 'healthy', details: { ...report.queryCache } };
    const partitions = this.judgePartitions(report.partitions, report.sealedIndexes);
    const performance = judgePerformance(report.performance);
    const judged = [connectionPool, partitions, performance];
    return {
      overall: worst(judged.map(({ health }) => health.status)),
      components: {
        connectionPool: connectionPool.health,
        queryCache,
        partitions: partitions.health,
        performance: performance.health,
      },
      recommendations: judged.flatMap(({ advice }) => advice),
    };
  }

  private async make(client: PoolClient): Promise<DatabasePerformanceReportDto> {
    const partitions = await this.partitions(client);
    const sealedIndexes = await this.sealedIndexes(client);
    const performance = await this.performance(client);
    return {
      timestamp: wallClockText(),
      connectionPool: this.connectionPool(),
      queryCache: this.sources.read('queryCache') ?? NO_CACHE,
      partitions,
      sealedIndexes,
      performance,
    };
  }

  /** Connections of the pool; the connection of this report is one of them. */
  private connectionPool(): ConnectionPoolDto {
    const { total, idle, waiting } = this.database.poolStatistics();
    const { averageMs, successPercent } = this.database.acquisitions.statistics();
    return {
      totalConnections: total,
      activeConnections: total - idle,
      waitingRequests: waiting,
      averageAcquisitionTime: averageMs === undefined ? null : round(averageMs, 3),
      successRate: successPercent === undefined ? null : round(successPercent, 2),
    };
  }

  private async partitions(client: PoolClient): Promise<PartitionFiguresDto> {
    const figures: PartitionFiguresDto = {
      totalPartitions: 0,
      totalSizeGB: 0,
      recommendations: [],
    };
    for (const { table, ahead, retentionDays } of this.tables.partitioned()) {
      const partitions = await findPartitions(client, table);
      const { rows } = await client.query<{ bytes: number }>(
        `SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::float8 AS bytes
         FROM pg_inherits WHERE inhparent = $1::regclass`,
        [table],
      );
      figures.totalPartitions += partitions.length;
      figures.totalSizeGB += (rows[0]?.bytes ?? 0) / GB;
      figures.recommendations.push(
        ...missingAhead(table, partitions, ahead),
        ...keptLonger(partitions, retentionDays),
        ...partitions
          .filter(({ isDetaching }) => isDetaching)
          .map(({ name }) => `${name} is being removed; the next upkeep finishes it.`),
        ...(await findLeftoverPartitions(client, table)).map(
          ({ name }) => `${name} is past its retention and not yet dropped; the next upkeep does.`,
        ),
      );
    }
    figures.totalSizeGB = round(figures.totalSizeGB, 6);
    return figures;
  }

  private async sealedIndexes(client: PoolClient): Promise<SealedIndexFiguresDto> {
    const { indexes, bytes, unsealedEvents } = await measureSealedIndexes(client, this.tables);
    const { builtAt = null, failures, refusal, lastFailure } = this.sealing.state();
    return {
      totalIndexes: indexes,
      totalSizeGB: round(bytes / GB, 6),
      unsealedEvents,
      lastBuiltAt: builtAt,
      failures,
      recommendations: [
        ...(this.config.sealEvents === 0
          ? ['DATABASE_SEAL_EVENTS is 0: no indexes are built for filters.']
          : []),
        ...(refusal === undefined ? [] : [`No indexes are built for filters: ${refusal}.`]),
        ...(lastFailure === undefined
          ? []
          : [`An index for filters could not be built: ${lastFailure}.`]),
      ],
    };
  }

  private async performance(client: PoolClient): Promise<QueryPerformanceDto> {
    const slow = await findSlowStatements(client, this.config.slowQueryThresholdMs);
    const { unused, suggestions } = await rankIndexes(client);
    const { rows } = await client.query<{ hits: number; reads: number }>(
      `SELECT blks_hit::float8 AS hits, blks_read::float8 AS reads
       FROM pg_stat_database WHERE datname = current_database()`,
    );
    const { hits, reads } = rows[0] ?? { hits: 0, reads: 0 };
    const ratio = hits + reads === 0 ? null : round((100 * hits) / (hits + reads), 2);
    return {
      slowQueries: slow.count,
      unusedIndexes: unused,
      cacheHitRatio: ratio,
      suggestions: [
        ...slow.notes,
        ...suggestions.map(({ index, table, reason }) => `Index ${index} on ${table}: ${reason}`),
        ...cacheNotes(ratio, hits + reads),
        ...(this.sources.read('queryCache')
          ? []
          : ['queryCache is null: nothing in front of the database is cached.']),
      ],
    };
  }

  private judgePartitions(
    { recommendations, ...figures }: PartitionFiguresDto,
    sealed: SealedIndexFiguresDto,
  ): Judged {
    const last = this.maintenance.lastRun();
    const unfinished = last
      ? [...last.failures, ...last.postponed.map(({ partition }) => partition)]
      : [];
    const advice = [
      ...recommendations,
      ...unfinished.map((what) => `The last upkeep could not finish: ${what}. The log says why.`),
      ...(this.config.sealEvents === 0 ? [] : sealed.recommendations),
    ];
    const lastUpkeep = last
      ? { at: last.startedAt, durationMs: last.durationMs, dropped: last.droppedPartitions }
      : null;
    const status = advice.length > 0 ? 'warning' : 'healthy';
    return { health: { status, details: { ...figures, lastUpkeep } }, advice };
  }
}

function missingAhead(table: string, partitions: Partition[], ahead: number): string[] {
  const missing = missingMonths(partitions, monthsAhead(ahead));
  if (missing.length === 0) return [];
  return [`${table} has no partition for ${missing.join(', ')}: the next upkeep makes them.`];
}

/** A partition of more than a month keeps an event past its retention until all its events are past theirs. */
function keptLonger(partitions: Partition[], retentionDays: number): string[] {
  if (retentionDays <= 0) return [];
  const edgeMs = wallClockMs() - retentionDays * DAY_MS;
  return partitions.flatMap(({ name, lowerMs, upperMs }) => {
    const isWithin = (lowerMs ?? -Infinity) < edgeMs && edgeMs < (upperMs ?? Infinity);
    if (!isWithin || (upperMs ?? Infinity) - (lowerMs ?? -Infinity) <= LONGEST_MONTH_MS) return [];
    const until =
      upperMs === null || upperMs === Infinity
        ? 'it has no end, and is never dropped'
        : `it is dropped once all are, on ${new Date(upperMs + retentionDays * DAY_MS).toISOString().slice(0, 10)}`;
    return [`${name} holds more than a month, and events past RETENTION_DAYS: ${until}.`];
  });
}

function cacheNotes(ratio: number | null, pages: number): string[] {
  if (ratio === null) return ['cacheHitRatio is null: PostgreSQL has counted no reads yet.'];
  if (pages < LEAST_READS || ratio >= LOW_HIT_PERCENT) return [];
  return [
    `Only ${ratio} % of ${pages} pages were found in PostgreSQL's memory: see shared_buffers in configOptimization of an optimization.`,
  ];
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Statements of this role over a threshold: their number, and notes on the slowest. */
interface SlowStatements {
  count: number;
  notes: string[];
}

/**
 * Reads statements without values, by average, from pg_stat_statements where that is installed and readable; or else the
 * running ones from pg_stat_activity.
 */
export async function findSlowStatements(
  client: ClientBase,
  thresholdMs: number,
): Promise<SlowStatements> {
  const schema = await statementsSchema(client);
  if (schema === undefined) {
    const missing =
      'Statements are not recorded: the extension pg_stat_statements is not installed. Only those that run right now can be told.';
    return running(client, thresholdMs, missing);
  }
  try {
    return await recorded(client, schema, thresholdMs);
  } catch (error) {
    if (isUnavailable(error)) throw error;
    const { message } = error as Error;
    return running(client, thresholdMs, `pg_stat_statements cannot be read: ${message}.`);
  }
}

async function statementsSchema(client: ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<{ schema: string }>(
    `SELECT extnamespace::regnamespace::text AS schema FROM pg_extension WHERE extname = 'pg_stat_statements'`,
  );
  return rows[0]?.schema;
}

async function recorded(
  client: ClientBase,
  schema: string,
  thresholdMs: number,
): Promise<SlowStatements> {
  const { rows } = await client.query<{ text: string; calls: number; mean: number; all: number }>(
    `SELECT query AS text, calls::float8 AS calls, mean_exec_time AS mean, (count(*) OVER ())::int AS all
     FROM ${schema}.pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND mean_exec_time >= $1
     ORDER BY total_exec_time DESC LIMIT ${NAMED_STATEMENTS}`,
    [thresholdMs],
  );
  const notes = rows.map(({ text, calls, mean }) => {
    const short = text.replace(/\s+/g, ' ').trim().slice(0, SHOWN_CHARACTERS);
    return `${Math.round(mean)} ms on average over ${calls} calls (pg_stat_statements): ${short}`;
  });
  return { count: rows[0]?.all ?? 0, notes };
}

async function running(
  client: ClientBase,
  thresholdMs: number,
  note: string,
): Promise<SlowStatements> {
  const { rows } = await client.query<{ pid: number; ms: number }>(
    `SELECT pid, (extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS ms
     FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND state = 'active' AND pid <> pg_backend_pid()
       AND query_start < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY 2 DESC`,
    [thresholdMs],
  );
  const now = rows.slice(0, NAMED_STATEMENTS).map(({ pid, ms }) => {
    return `A statement has run for ${Math.round(ms)} ms (pg_stat_activity, process ${pid}).`;
  });
  return { count: rows.length, notes: [...now, note] };
}

interface Judged {
  health: ComponentHealthDto;
  advice: string[];
}

type PoolFigures = ConnectionPoolDto & { maxConnections: number };

interface PoolRule {
  level: (figures: PoolFigures) => HealthLevel;
  advice: (figures: PoolFigures) => string;
}

/** Rules for the pool; ratios and averages without data are null, which is no alarm. */
const POOL_RULES: PoolRule[] = [
  {
    level: ({ waitingRequests, activeConnections, maxConnections }) =>
      waitingRequests > 0 && activeConnections >= maxConnections ? 'warning' : 'healthy',
    advice: ({ maxConnections, waitingRequests }) =>
      `All ${maxConnections} connections are lent and ${waitingRequests} wait: raise DATABASE_POOL_MAX, or look for slow statements.`,
  },
  {
    level: ({ averageAcquisitionTime }) =>
      (averageAcquisitionTime ?? 0) > SLOW_ACQUISITION_MS ? 'warning' : 'healthy',
    advice: ({ averageAcquisitionTime }) =>
      `A connection takes ${averageAcquisitionTime} ms to get on average of the last five minutes: the pool is too small or PostgreSQL too slow.`,
  },
  {
    level: ({ successRate }) => {
      if (successRate === null || successRate >= GOOD_SUCCESS_PERCENT) return 'healthy';
      return successRate < BAD_SUCCESS_PERCENT ? 'critical' : 'warning';
    },
    advice: ({ successRate }) =>
      `Only ${successRate} % of those who asked for a connection got one.`,
  },
];

function judgePool(figures: PoolFigures): Judged {
  const due = POOL_RULES.filter(({ level }) => level(figures) !== 'healthy');
  const status = worst(due.map(({ level }) => level(figures)));
  return {
    health: { status, details: { ...figures } },
    advice: due.map((rule) => rule.advice(figures)),
  };
}

function judgePerformance({ suggestions, ...figures }: QueryPerformanceDto): Judged {
  const { slowQueries } = figures;
  const status = slowQueries > MANY_SLOW ? 'warning' : 'healthy';
  return {
    health: { status, details: { ...figures } },
    advice: slowQueries > 0 ? suggestions : [],
  };
}

function worst(levels: HealthLevel[]): HealthLevel {
  return LEVELS[Math.max(0, ...levels.map((level) => LEVELS.indexOf(level)))] ?? 'healthy';
}
