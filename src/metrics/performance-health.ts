import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../platform/config/settings';
import { AlertState } from './alert-state';
import { findBottlenecks, MIN_CACHE_REQUESTS } from './bottlenecks';
import type { AlertSeverity, HealthStatus, PerformanceHealthDto } from './dto/responses.dto';
import { EventLoopDelay } from './event-loop-delay';
import { MeasurementSources } from './measurement-sources';
import { memoryUsage } from './process-memory';

/** Service status while an alert of each severity is active. */
const STATUS_OF: Record<AlertSeverity, HealthStatus> = {
  LOW: 'healthy',
  MEDIUM: 'warning',
  HIGH: 'warning',
  CRITICAL: 'critical',
};
const RANK: HealthStatus[] = ['healthy', 'warning', 'critical'];
/** Past a limit by this share of what is left to 100 %, it is critical: 95 % of memory for a limit of 85 %. */
const CRITICAL_SHARE = 2 / 3;

/** Status and recommendations of /performance/health, for every protocol. */
@Injectable()
export class PerformanceHealth {
  constructor(
    private readonly loop: EventLoopDelay,
    private readonly sources: MeasurementSources,
    private readonly alerts: AlertState,
    @Inject(monitoringConfig.KEY) private readonly limits: ConfigType<typeof monitoringConfig>,
  ) {}

  /** A ratio without enough data is no fault. */
  check(): PerformanceHealthDto {
    const details = { cache: this.cache(), concurrency: this.concurrency(), memory: this.memory() };
    const statuses = [
      ...Object.values(details).map(({ status }) => status),
      ...this.alerts.active().map(({ severity }) => STATUS_OF[severity]),
    ];
    const status = RANK[Math.max(...statuses.map((one) => RANK.indexOf(one)))] ?? 'healthy';
    return { status, details, recommendations: this.recommendations(details.memory) };
  }

  private cache() {
    const { requests = 0, hitRatio = 0 } = this.sources.find('cache')?.().window ?? {};
    const isLow =
      requests >= MIN_CACHE_REQUESTS && hitRatio < this.limits.cacheHitRatioAlertPercent;
    // The database serves misses: never more than a warning.
    return { status: isLow ? ('warning' as const) : ('healthy' as const), hitRatio };
  }

  private concurrency() {
    const { activeRequests = 0, maxConcurrentRequests = 0 } =
      this.sources.find('concurrency')?.() ?? {};
    const utilization = maxConcurrentRequests
      ? Math.round((1000 * activeRequests) / maxConcurrentRequests) / 10
      : 0;
    // A limit may be reached: refused requests show in alerts and counts.
    const isHigh = utilization > this.limits.concurrencyAlertPercent;
    return { status: isHigh ? ('warning' as const) : ('healthy' as const), utilization };
  }

  private memory() {
    const { percentage } = memoryUsage();
    const limit = this.limits.memoryAlertPercent;
    const critical = limit + (100 - limit) * CRITICAL_SHARE;
    const status: HealthStatus =
      percentage > critical ? 'critical' : percentage > limit ? 'warning' : 'healthy';
    return { status, usage: percentage };
  }

  private recommendations(memory: { status: HealthStatus; usage: number }): string[] {
    const [first, ...others] = findBottlenecks({
      loop: this.loop.read(),
      pool: this.sources.find('pool')?.(),
      concurrency: this.sources.find('concurrency')?.(),
      slowQueries: this.sources.find('slowQueries')?.(),
      cache: this.sources.find('cache')?.(),
      cacheAlertPercent: this.limits.cacheHitRatioAlertPercent,
    });
    const found: string[] = [];
    if (first) found.push(`Most likely bottleneck: ${first.text}`);
    for (const { text } of others) found.push(`Also: ${text}`);
    if (memory.status !== 'healthy') found.push(memoryAdvice(memory.usage));
    for (const { type, title, description } of this.alerts.active()) {
      if (ADVICE[type] !== undefined) found.push(`${title}: ${description} ${ADVICE[type]}`);
    }
    return found;
  }
}

/** For alerts that no bottleneck and no detail covers. */
const ADVICE: Partial<Record<string, string>> = {
  SLOW_REQUESTS: 'slowRequests in /performance/metrics names the endpoints.',
  DATABASE_UNAVAILABLE: 'Look at PostgreSQL and at the network to DATABASE_URL.',
  REDIS_UNAVAILABLE:
    'Answers come from PostgreSQL and this process until it is back: look at REDIS_URL.',
  PARTITION_MISSING:
    'They are made on demand too, but look whether the role may create tables: POST /performance/database/optimize.',
};

function memoryAdvice(usage: number): string {
  const { limit } = memoryUsage();
  const what = {
    heap: 'of the V8 heap limit (raise it with NODE_OPTIONS=--max-old-space-size)',
    container: "of the container's limit (raise it)",
    machine: "of the machine's memory",
  }[limit];
  return `Memory: ${usage} % ${what} is in use. Lower CACHE_MAX_SIZE_MB or CONCURRENCY_MAX_REQUESTS, or give it more.`;
}
