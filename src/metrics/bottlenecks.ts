import type { EventLoopDelays } from './event-loop-delay';
import type {
  CacheFigures,
  ConcurrencyFigures,
  PoolFigures,
  SlowQueryFigures,
} from './measurement-sources';

/** Figures to judge by; missing ones lead to no conclusion. */
export interface Measurements {
  loop: EventLoopDelays;
  pool?: PoolFigures;
  concurrency?: ConcurrencyFigures;
  slowQueries?: SlowQueryFigures;
  cache?: CacheFigures;
  cacheAlertPercent: number;
}

/** Reason for slowness, and its likelihood: 0 to 1. */
export interface Bottleneck {
  kind: 'event loop' | 'pool' | 'queue' | 'slow query' | 'cache';
  weight: number;
  text: string;
}

/** Delay that people notice, and delay that raises the likelihood to 1. */
const LOOP_LATE_MS = 100;
const LOOP_STUCK_MS = 500;
/** From here on the wait for a connection is a good part of the response time. */
const SLOW_ACQUISITION_MS = 100;
/** Fewer slow statements are chance: a checkpoint, the first of their kind. */
const MIN_SLOW_QUERIES = 5;
/** Fewer loans may each have opened a connection first. */
const MIN_LENT = 20;
/** Fewer requests say nothing about a ratio. */
export const MIN_CACHE_REQUESTS = 100;

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

function slowQuery({ slowQueries, pool: { max } = { max: 1 } as PoolFigures }: Measurements) {
  const [slowest] = slowQueries?.slowest ?? [];
  if (!slowQueries || !slowest || slowQueries.count < MIN_SLOW_QUERIES) return undefined;
  return {
    kind: 'slow query' as const,
    weight: 0.5 + 0.35 * Math.min(1, slowQueries.count / (10 * max)),
    text:
      `slow statements. ${slowQueries.count} took longer than SLOW_QUERY_THRESHOLD_MS in the last five minutes; the ` +
      `slowest is "${slowest.name}" with ${Math.round(slowest.averageMs)} ms on average (${slowest.count} times). ` +
      'See /performance/database/performance-report, and narrow the time span of what is asked.',
  };
}

function pool({ pool: figures }: Measurements): Bottleneck | undefined {
  if (!figures) return undefined;
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
  if (!concurrency || concurrency.queuedRequests === 0) return undefined;
  const { activeRequests, queuedRequests, maxConcurrentRequests, queueSize } = concurrency;
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

function cache({ cache: figures, cacheAlertPercent }: Measurements): Bottleneck | undefined {
  const { requests = 0, hitRatio } = figures?.window ?? {};
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
