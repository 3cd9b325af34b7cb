import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { PoolClient } from 'pg';
import { wallClockMs, wallClockText } from '../platform/runtime/clocks';
import { withDeadline } from '../platform/runtime/abort';
import { databaseConfig, serverConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { Database } from '../platform/database/database';
import type {
  ConnectionPoolDto,
  DatabasePerformanceReportDto,
  PartitionFiguresDto,
  QueryCacheDto,
  QueryPerformanceDto,
} from './dto/performance-report.dto';
import { rankIndexes } from './index-ranking';
import { MaintainedTables } from '../platform/database/maintained-tables';
import {
  findLeftoverPartitions,
  findPartitions,
  type Partition,
} from '../platform/database/partition-catalog';
import { missingMonths, monthsAhead } from '../platform/database/partitions';
import { MeasurementSources } from '../metrics/measurement-sources';
import { findSlowStatements } from './slow-statements';

const GB = 1024 ** 3;
/** With fewer reads PostgreSQL's hit ratio means nothing. */
const LEAST_READS = 10_000;
const LOW_HIT_PERCENT = 95;
const DAY_MS = 86_400_000;
const LONGEST_MONTH_MS = 31 * DAY_MS;
const NO_CACHE: QueryCacheDto = { hitRatio: null, totalSizeMB: null, evictions: null };

/** State of the database, our pool and partitions. Unknown figures are null. */
@Injectable()
export class DatabaseReport {
  private running: Promise<DatabasePerformanceReportDto> | undefined;

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
    private readonly sources: MeasurementSources,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  /**
   * One report, on one connection, for all concurrent callers; cancelled in PostgreSQL at the deadline of requests.
   * @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is away, REQUEST_TIMEOUT.
   */
  report(): Promise<DatabasePerformanceReportDto> {
    this.running ??= this.makeInTime().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async makeInTime(): Promise<DatabasePerformanceReportDto> {
    const late = () => new AppError('REQUEST_TIMEOUT', 'The report was not done in time.');
    return withDeadline({ timeoutMs: this.server.requestTimeoutMs, late }, (signal) =>
      this.make(signal),
    );
  }

  private make(signal: AbortSignal): Promise<DatabasePerformanceReportDto> {
    return this.database.withClient(async (client) => {
      const partitions = await this.partitions(client);
      const performance = await this.performance(client);
      return {
        timestamp: wallClockText(),
        connectionPool: this.connectionPool(),
        queryCache: this.sources.find('queryCache')?.() ?? NO_CACHE,
        partitions,
        performance,
      };
    }, signal);
  }

  /** Includes the connection of this report. */
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
        ...(this.sources.find('queryCache')
          ? []
          : ['queryCache is null: nothing in front of the database is cached.']),
      ],
    };
  }
}

function missingAhead(table: string, partitions: Partition[], ahead: number): string[] {
  const missing = missingMonths(partitions, monthsAhead(ahead));
  if (missing.length === 0) return [];
  return [`${table} has no partition for ${missing.join(', ')}: the next upkeep makes them.`];
}

/** Partitions of more than a month keep events past their retention until all of theirs are. */
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
