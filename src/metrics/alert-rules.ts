import type { MonitoringConfig } from '../platform/config/monitoring.config';
import type { Finding } from './alert-state';
import { MIN_CACHE_REQUESTS } from './bottlenecks';
import type { LatencyReport } from './latency-window';
import type {
  CacheFigures,
  ConcurrencyFigures,
  LossFigures,
  PoolFigures,
} from './measurement-sources';
import type { MemoryUsage } from './process-memory';

/** An alert ends only when its figure is better than its limit by so many points. */
const MARGIN_PERCENT = 5;
/** Fewer slow requests than this are bad luck; from this share on, one user in a hundred notices. */
const MIN_SLOW_REQUESTS = 10;
const SLOW_SHARE = 0.01;
/** Half of what raised it. */
const SLOW_SHARE_OVER = SLOW_SHARE / 2;
/** Nearer to the end of memory than this, the process may die at the next large request. */
const CRITICAL_MEMORY_PERCENT = 95;

type Limits = Pick<
  MonitoringConfig,
  | 'memoryAlertPercent'
  | 'cacheHitRatioAlertPercent'
  | 'concurrencyAlertPercent'
  | 'slowRequestThresholdMs'
>;

/** `over` and `under` are where it begins and where it ends; between them nothing changes. */
function levelOf(isOver: boolean, isUnder: boolean): Finding['level'] {
  if (isOver) return 'bad';
  return isUnder ? 'good' : 'between';
}

/** Memory swings with garbage collection: three findings in a row. */
export function memoryRule(
  { percentage, limit, used, total }: MemoryUsage,
  limits: Limits,
): Finding {
  const { memoryAlertPercent } = limits;
  return {
    type: 'HIGH_MEMORY',
    level: levelOf(
      percentage > memoryAlertPercent,
      percentage <= memoryAlertPercent - MARGIN_PERCENT,
    ),
    severity: percentage > CRITICAL_MEMORY_PERCENT ? 'CRITICAL' : 'HIGH',
    title: 'Memory is nearly used up',
    description: `${percentage} % of the ${limit} limit is in use; the alert is at ${memoryAlertPercent} %.`,
    source: 'memory',
    metadata: { used, total, percentage, limit, alertPercent: memoryAlertPercent },
    raiseAfter: 3,
    resolveAfter: 3,
  };
}

/** A ratio of too few requests is no fault. */
export function cacheRule(figures: CacheFigures | undefined, limits: Limits): Finding {
  const { requests = 0, hitRatio } = figures?.window ?? {};
  const alertPercent = limits.cacheHitRatioAlertPercent;
  const isKnown = hitRatio !== undefined && requests >= MIN_CACHE_REQUESTS;
  return {
    type: 'LOW_CACHE_HIT_RATIO',
    level: levelOf(
      isKnown && hitRatio < alertPercent,
      !isKnown || hitRatio >= Math.min(100, alertPercent + MARGIN_PERCENT),
    ),
    severity: 'MEDIUM',
    title: 'Few answers come from the cache',
    description: `${hitRatio ?? 0} % of ${requests} requests of the last five minutes were hits; the alert is below ${alertPercent} %.`,
    source: 'cache',
    metadata: { hitRatio: hitRatio ?? null, requests, alertPercent },
    raiseAfter: 2,
    resolveAfter: 2,
  };
}

/** Two findings in a row: a burst that is over at once is what the queue is for. */
export function concurrencyRule(figures: ConcurrencyFigures | undefined, limits: Limits): Finding {
  const { activeRequests = 0, queuedRequests = 0, maxConcurrentRequests = 0 } = figures ?? {};
  const alertPercent = limits.concurrencyAlertPercent;
  const percent = maxConcurrentRequests ? (100 * activeRequests) / maxConcurrentRequests : 0;
  return {
    type: 'HIGH_CONCURRENCY',
    level: levelOf(percent > alertPercent, percent <= Math.max(0, alertPercent - MARGIN_PERCENT)),
    severity: queuedRequests > 0 ? 'HIGH' : 'MEDIUM',
    title: 'The service is at its limit of concurrent requests',
    description: `${activeRequests} of ${maxConcurrentRequests} requests run and ${queuedRequests} wait; the alert is at ${alertPercent} %.`,
    source: 'concurrency',
    metadata: { activeRequests, queuedRequests, maxConcurrentRequests, alertPercent },
    raiseAfter: 2,
    resolveAfter: 2,
  };
}

/** Over the window given, at once: the window is the patience. */
export function slowRequestsRule(window: LatencyReport, limits: Limits): Finding {
  const { slow, count, seconds, p95Ms, p99Ms } = window;
  const share = count === 0 ? 0 : slow / count;
  const thresholdMs = limits.slowRequestThresholdMs;
  return {
    type: 'SLOW_REQUESTS',
    level: levelOf(
      slow >= MIN_SLOW_REQUESTS && share >= SLOW_SHARE,
      slow < MIN_SLOW_REQUESTS / 2 || share < SLOW_SHARE_OVER,
    ),
    severity: share >= 0.5 ? 'HIGH' : 'MEDIUM',
    title: 'Requests are slow',
    description: `${slow} of ${count} requests of the last ${Math.round(seconds)} s took ${thresholdMs} ms or longer.`,
    source: 'requests',
    metadata: {
      slow,
      requests: count,
      thresholdMs,
      p95Ms: Math.round(p95Ms),
      p99Ms: Math.round(p99Ms),
    },
    raiseAfter: 1,
    resolveAfter: 2,
  };
}

/** Two findings in a row: a caller that waits a moment is no fault. */
export function poolRule(figures: PoolFigures | undefined): Finding {
  const { total = 0, idle = 0, waiting = 0, max = 0 } = figures ?? {};
  return {
    type: 'POOL_EXHAUSTED',
    level: levelOf(waiting > 0 && total - idle >= max, waiting === 0),
    severity: 'HIGH',
    title: 'The connection pool is exhausted',
    description: `All ${max} connections are in use and ${waiting} callers wait for one.`,
    source: 'database',
    metadata: { total, idle, waiting, max },
    raiseAfter: 2,
    resolveAfter: 2,
  };
}

/** Two in a row, as a restart of PostgreSQL behind a pooler is over in a second. */
export function databaseRule(isUp: boolean): Finding {
  return {
    type: 'DATABASE_UNAVAILABLE',
    level: levelOf(!isUp, isUp),
    severity: 'CRITICAL',
    title: 'PostgreSQL does not answer',
    description: 'Requests that need the database are answered with 503 until it is back.',
    source: 'database',
    metadata: {},
    raiseAfter: 2,
    resolveAfter: 1,
  };
}

export function redisRule(isUp: boolean): Finding {
  return {
    type: 'REDIS_UNAVAILABLE',
    level: levelOf(!isUp, isUp),
    severity: 'HIGH',
    title: 'Redis does not answer',
    description: 'Replicas share no cache until it is back; nothing is lost.',
    source: 'redis',
    metadata: {},
    raiseAfter: 2,
    resolveAfter: 2,
  };
}

export function partitionRule(missing: string[]): Finding {
  return {
    type: 'PARTITION_MISSING',
    level: levelOf(missing.length > 0, missing.length === 0),
    severity: 'HIGH',
    title: 'Partitions that should exist ahead are missing',
    description: `Missing: ${missing.join(', ') || 'none'}.`,
    source: 'database',
    metadata: { missing },
    raiseAfter: 1,
    resolveAfter: 1,
  };
}

/** At once, and for as long as the source reports it (a quarter of an hour): what is lost does not come back by itself. */
export function lossRule(figures: LossFigures | undefined): Finding {
  const { recent = 0, from = 0, to } = figures ?? {};
  return {
    type: 'EVENTS_LOST',
    level: levelOf(recent > 0, recent === 0),
    severity: 'CRITICAL',
    title: 'PostgreSQL has lost acknowledged events',
    description: `The log of ${recent} organizations went back (of the first, from ${from}${to === undefined ? '' : ` to ${to}`}): numbers are given again.`,
    source: 'database',
    metadata: { organizations: recent, from, to: to ?? null },
    raiseAfter: 1,
    resolveAfter: 1,
  };
}

/** At once: each write is refused. Two good findings end it, as a standby may go again right after it came. */
export function stallRule(isStalled: boolean): Finding {
  return {
    type: 'COMMITS_STALLED',
    level: levelOf(isStalled, !isStalled),
    severity: 'CRITICAL',
    title: 'PostgreSQL does not confirm commits',
    description:
      'A standby of synchronous_standby_names does not answer: writes are refused with 503 until it does.',
    source: 'database',
    metadata: {},
    raiseAfter: 1,
    resolveAfter: 2,
  };
}
