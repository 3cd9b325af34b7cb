import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { databaseConfig } from '../platform/config/settings';
import { DatabaseReport } from './database-report';
import type {
  ComponentHealthDto,
  DatabaseHealthStatusDto,
  HealthLevel,
} from './dto/health-status.dto';
import type {
  ConnectionPoolDto,
  PartitionFiguresDto,
  QueryPerformanceDto,
} from './dto/performance-report.dto';
import { Maintenance } from './maintenance';

const SEVERITY: HealthLevel[] = ['healthy', 'warning', 'critical'];
const MANY_SLOW = 10;
const SLOW_ACQUISITION_MS = 100;
const GOOD_SUCCESS_PERCENT = 99.9;
const BAD_SUCCESS_PERCENT = 95;

interface Judged {
  health: ComponentHealthDto;
  advice: string[];
}

type PoolFigures = ConnectionPoolDto & { maxConnections: number };

interface PoolRule {
  level: (figures: PoolFigures) => HealthLevel;
  advice: (figures: PoolFigures) => string;
}

/** Ratios and averages without data are null, and no alarm. */
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

/** Health of the database by the figures of its report. */
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
    const connectionPool = judgePool({
      ...report.connectionPool,
      maxConnections: this.config.poolMax,
    });
    // The cache's alert threshold belongs to the metrics.
    const queryCache: ComponentHealthDto = { status: 'healthy', details: { ...report.queryCache } };
    const partitions = this.judgePartitions(report.partitions);
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

  private judgePartitions({ recommendations, ...figures }: PartitionFiguresDto): Judged {
    const last = this.maintenance.lastRun();
    const unfinished = last
      ? [...last.failures, ...last.postponed.map(({ partition }) => partition)]
      : [];
    const advice = [
      ...recommendations,
      ...unfinished.map((what) => `The last upkeep could not finish: ${what}. The log says why.`),
    ];
    const lastUpkeep = last
      ? { at: last.startedAt, durationMs: last.durationMs, dropped: last.droppedPartitions }
      : null;
    const status = advice.length > 0 ? 'warning' : 'healthy';
    return { health: { status, details: { ...figures, lastUpkeep } }, advice };
  }
}

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
  return SEVERITY[Math.max(0, ...levels.map((level) => SEVERITY.indexOf(level)))] ?? 'healthy';
}
