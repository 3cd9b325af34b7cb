import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { databaseConfig } from '../platform/config/database.config';
import { DatabaseReport } from './database-report';
import type {
  ComponentHealthDto,
  DatabaseHealthStatusDto,
  HealthLevel,
} from './dto/health-status.dto';
import type {
  ConnectionPoolDto,
  PartitionFiguresDto,
  QueryCacheDto,
  QueryPerformanceDto,
} from './dto/performance-report.dto';
import { Maintenance } from './maintenance';

const SEVERITY: HealthLevel[] = ['healthy', 'warning', 'critical'];
const MANY_SLOW = 10;
const SLOW_ACQUISITION_MS = 100;
const GOOD_SUCCESS_PERCENT = 99.9;
const BAD_SUCCESS_PERCENT = 95;

/** A part judged, with what is to be done about it. */
interface Judged {
  health: ComponentHealthDto;
  advice: string[];
}

/** How healthy the database is. A ratio without data is no alarm. */
@Injectable()
export class DatabaseStatus {
  constructor(
    private readonly reports: DatabaseReport,
    private readonly maintenance: Maintenance,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {}

  /** @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is away. */
  async status(): Promise<DatabaseHealthStatusDto> {
    const report = await this.reports.report();
    const connectionPool = judgePool(report.connectionPool, this.config.poolMax);
    const queryCache = judgeCache(report.queryCache);
    const partitions = this.judgePartitions(report.partitions);
    const performance = judgePerformance(report.performance);
    const all = [connectionPool, queryCache, partitions, performance];
    return {
      overall: worst(all.map(({ health }) => health.status)),
      components: {
        connectionPool: connectionPool.health,
        queryCache: queryCache.health,
        partitions: partitions.health,
        performance: performance.health,
      },
      recommendations: all.flatMap(({ advice }) => advice),
    };
  }

  private judgePartitions({ recommendations, ...figures }: PartitionFiguresDto): Judged {
    const round = this.maintenance.lastRun();
    const failed = round ? [...round.failures, ...round.postponed.map((one) => one.partition)] : [];
    const advice = [
      ...recommendations,
      ...failed.map((what) => `The last upkeep could not finish: ${what}. The log says why.`),
    ];
    const lastUpkeep = round
      ? { at: round.startedAt, durationMs: round.durationMs, dropped: round.droppedPartitions }
      : null;
    return {
      health: {
        status: advice.length > 0 ? 'warning' : 'healthy',
        details: { ...figures, lastUpkeep },
      },
      advice,
    };
  }
}

function judgePool(figures: ConnectionPoolDto, maxConnections: number): Judged {
  const { waitingRequests, averageAcquisitionTime, successRate, activeConnections } = figures;
  const advice: string[] = [];
  let status: HealthLevel = 'healthy';
  if (waitingRequests > 0 && activeConnections >= maxConnections) {
    status = 'warning';
    advice.push(
      `All ${maxConnections} connections are lent and ${waitingRequests} wait: raise DATABASE_POOL_MAX, or look for slow statements.`,
    );
  }
  if (averageAcquisitionTime !== null && averageAcquisitionTime > SLOW_ACQUISITION_MS) {
    status = 'warning';
    advice.push(
      `A connection takes ${averageAcquisitionTime} ms to get on average of the last five minutes: the pool is too small or PostgreSQL too slow.`,
    );
  }
  if (successRate !== null && successRate < GOOD_SUCCESS_PERCENT) {
    status = successRate < BAD_SUCCESS_PERCENT ? 'critical' : 'warning';
    advice.push(`Only ${successRate} % of those who asked for a connection got one.`);
  }
  return { health: { status, details: { ...figures, maxConnections } }, advice };
}

/** The alert threshold of the cache belongs to the metrics; here it is shown and never an alarm of the database. */
function judgeCache(figures: QueryCacheDto): Judged {
  return { health: { status: 'healthy', details: { ...figures } }, advice: [] };
}

function judgePerformance({ suggestions, ...figures }: QueryPerformanceDto): Judged {
  const { slowQueries } = figures;
  const status: HealthLevel = slowQueries > MANY_SLOW ? 'warning' : 'healthy';
  const advice = slowQueries > 0 ? suggestions : [];
  return { health: { status, details: { ...figures } }, advice };
}

function worst(levels: HealthLevel[]): HealthLevel {
  return levels.reduce(
    (found, level) => (SEVERITY.indexOf(level) > SEVERITY.indexOf(found) ? level : found),
    'healthy',
  );
}
