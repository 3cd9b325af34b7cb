import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AlertState } from './alert-state';
import type { AlertSeverity, HealthStatus, PerformanceHealthDto } from './dto/responses.dto';
import {
  type CacheFigures,
  type ConcurrencyFigures,
  MeasurementSources,
  MIN_CACHE_REQUESTS,
  type PoolFigures,
  type SlowQueryFigures,
} from './measurement-sources';
import { EventLoopDelay, type EventLoopDelays, memoryUsage } from './process.metrics';
import { monitoringConfig } from '../platform/config/settings';

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
/** Delay that people notice, and delay that raises the likelihood to 1. */
const LOOP_LATE_MS = 100;
const LOOP_STUCK_MS = 500;
/** From here on the wait for a connection is a good part of the response time. */
const SLOW_ACQUISITION_MS = 100;
/** Fewer slow statements are chance: a checkpoint, the first of their kind. */
const MIN_SLOW_QUERIES = 5;
/** Fewer loans may each have opened a connection first. */
const MIN_LENT = 20;
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
    const { requests, hitRatio = 0 } = this.sources.read('cache').window;
    const isLow =
      requests >= MIN_CACHE_REQUESTS && hitRatio < this.limits.cacheHitRatioAlertPercent;
    // The database serves misses: never more than a warning.
    return { status: isLow ? ('warning' as const) : ('healthy' as const), hitRatio };
  }

  private concurrency() {
    const { activeRequests, maxConcurrentRequests } = this.sources.read('concurrency');
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
      pool: this.sources.read('pool'),
      concurrency: this.sources.read('concurrency'),
      slowQueries: this.sources.read('slowQueries'),
      cache: this.sources.read('cache'),
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
  KEY_SET_UNAVAILABLE:
    'Tokens of known keys are verified for AUTH_JWKS_STALE_SECONDS: look at AUTH_JWKS_URL or AUTH_JWKS_FILE, and HTTPS_PROXY.',
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

/** Figures to judge by; zeros lead to no conclusion. */
export interface Measurements {
  loop: EventLoopDelays;
  pool: PoolFigures;
  concurrency: ConcurrencyFigures;
  slowQueries: SlowQueryFigures;
  cache: CacheFigures;
  cacheAlertPercent: number;
}

/** Reason for slowness, and its likelihood: 0 to 1. */
interface Bottleneck {
  kind: 'event loop' | 'pool' | 'queue' | 'slow query' | 'cache';
  weight: number;
  text: string;
}

/**
 * Reasons for slowness, the likeliest first. Causes rank before consequences: a stuck event loop or a pool used up by
 * slow statements makes requests queue too.
 */
export function findBottlenecks(measurements: Measurements): Bottleneck[] {
  return [
    eventLoop(measurements),
    slowQuery(measurements),
    pool(measurements),
    queue(measurements),
    cache(measurements),
  ]
    .filter((found) => found !== undefined)
    .sort((a, b) => b.weight - a.weight);
}

function eventLoop({ loop }: Measurements): Bottleneck | undefined {
  if (loop.p99 < LOOP_LATE_MS) return undefined;
  return {
    kind: 'event loop',
    weight: 0.6 + 0.4 * Math.min(1, loop.p99 / LOOP_STUCK_MS),
    text:
      `the event loop is blocked. One timer in a hundred is ${loop.p99} ms late (half of them ${loop.p50} ms). ` +
      'Spread the load over more replicas; look for large bulk bodies and pages of many events.',
  };
}

function slowQuery({ slowQueries, pool: { max } }: Measurements): Bottleneck | undefined {
  const [slowest] = slowQueries.slowest;
  if (!slowest || slowQueries.count < MIN_SLOW_QUERIES) return undefined;
  return {
    kind: 'slow query',
    weight: 0.5 + 0.35 * Math.min(1, slowQueries.count / (10 * max)),
    text:
      `slow statements. ${slowQueries.count} took longer than SLOW_QUERY_THRESHOLD_MS in the last five minutes; the ` +
      `slowest is "${slowest.name}" with ${Math.round(slowest.averageMs)} ms on average (${slowest.count} times). ` +
      'See /performance/database/performance-report, and narrow the time span of what is asked.',
  };
}

function pool({ pool: figures }: Measurements): Bottleneck | undefined {
  const { total, idle, waiting, max, recent } = figures;
  const isExhausted = waiting > 0 && total - idle >= max;
  const { lent = 0, averageMs = 0, successPercent = 100 } = recent ?? {};
  const isSlow = lent >= MIN_LENT && averageMs >= SLOW_ACQUISITION_MS;
  if (!isExhausted && !isSlow) return undefined;
  const now = `${total - idle} of ${max} connections are in use and ${waiting} callers wait for one.`;
  const before = isSlow
    ? ` In the last five minutes one took ${Math.round(averageMs)} ms to get on average, and ${successPercent.toFixed(1)} % got one.`
    : '';
  return {
    kind: 'pool',
    // Exhausted now is surer than slow minutes ago.
    weight: isExhausted ? 0.7 + 0.25 * Math.min(1, waiting / max) : 0.6,
    text:
      `the connection pool is ${isExhausted ? 'exhausted' : 'too small'}. ${now}${before} ` +
      'Raise DATABASE_POOL_MAX, or make statements faster.',
  };
}

function queue({ concurrency }: Measurements): Bottleneck | undefined {
  const { activeRequests, queuedRequests, maxConcurrentRequests, queueSize } = concurrency;
  if (queuedRequests === 0) return undefined;
  const fill = queueSize === 0 ? 1 : queuedRequests / queueSize;
  const load = `${activeRequests} of ${maxConcurrentRequests} run and ${queuedRequests} of at most ${queueSize} wait`;
  return {
    kind: 'queue',
    weight: 0.4 + 0.5 * Math.min(1, fill),
    text:
      activeRequests < maxConcurrentRequests
        ? `requests with large bodies wait for each other. ${load}. Add replicas, or send fewer events at a time.`
        : `requests wait for their turn. ${load}. Add replicas, or raise CONCURRENCY_MAX_REQUESTS while the pool has room.`,
  };
}

function cache({ cache: { window }, cacheAlertPercent }: Measurements): Bottleneck | undefined {
  const { requests, hitRatio } = window;
  if (hitRatio === undefined || requests < MIN_CACHE_REQUESTS) return undefined;
  if (hitRatio >= cacheAlertPercent) return undefined;
  return {
    kind: 'cache',
    weight: 0.3 + 0.2 * (1 - hitRatio / 100),
    text:
      `the cache is cold. ${hitRatio} % of ${requests} cacheable requests of the last five minutes were hits. Warm it up ` +
      '(POST /performance/cache/warmup), raise CACHE_MAX_SIZE_MB or CACHE_DEFAULT_TTL_SECONDS, or ask for the same pages.',
  };
}
