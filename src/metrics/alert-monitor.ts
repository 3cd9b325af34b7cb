import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AlertState, type Finding } from './alert-state';
import {
  type CacheFigures,
  type ConcurrencyFigures,
  type LossFigures,
  MeasurementSources,
  MIN_CACHE_REQUESTS,
  type PoolFigures,
} from './measurement-sources';
import { memoryUsage, type MemoryUsage } from './process.metrics';
import { type LatencyReport, RequestRecorder } from './request-recorder';
import { monitoringConfig, type MonitoringConfig } from '../platform/config/settings';

/** Evaluations between two checks of partitions, a minute by default: they go missing once a month at most. */
const PARTITION_EVALUATIONS = 30;
/** Points by which a figure must be better than its limit to end the alert. */
const MARGIN_PERCENT = 5;
/** Fewer slow requests are chance; from this share on, one user in a hundred notices. */
const MIN_SLOW_REQUESTS = 10;
const SLOW_SHARE = 0.01;
/** Above this the process may die at the next large request. */
const CRITICAL_MEMORY_PERCENT = 95;

/**
 * Compares figures with limits every ALERT_INTERVAL_MS. Queries run beside that, one of each kind at a time: they may
 * take as long as the fault that they detect.
 */
@Injectable()
export class AlertMonitor implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private timer: NodeJS.Timeout | undefined;
  private evaluations = 0;
  private readonly queries = new Map<string, Promise<void>>();

  constructor(
    private readonly alerts: AlertState,
    private readonly recorder: RequestRecorder,
    private readonly sources: MeasurementSources,
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.config.enabled) return;
    this.timer = setInterval(() => this.tick(), this.config.alertIntervalMs).unref();
  }

  /** Waits for running queries: after this phase their connections are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.queries.values());
  }

  private tick(): void {
    try {
      this.evaluate();
    } catch (error) {
      this.logger.error(`A round of alerts failed: ${String(error)}`);
    }
    this.start('database', () => this.checkDatabase());
    if (this.evaluations % PARTITION_EVALUATIONS === 0) {
      this.start('partitions', () => this.checkPartitions());
    }
    this.evaluations += 1;
  }

  private evaluate(): void {
    const { alerts, config, sources } = this;
    alerts.apply(memoryRule(memoryUsage(), config));
    alerts.apply(cacheRule(sources.read('cache'), config));
    alerts.apply(concurrencyRule(sources.read('concurrency'), config));
    alerts.apply(slowRequestsRule(this.recorder.lastSeconds(config.alertWindowSeconds), config));
    alerts.apply(poolRule(sources.read('pool')));
    alerts.apply(lossRule(sources.read('losses')));
    alerts.apply(stallRule(sources.read('stalledCommits')));
    alerts.apply(redisRule(sources.read('redis')));
    alerts.apply(keySetRule(sources.read('keySet')));
  }

  private async checkDatabase(): Promise<void> {
    this.alerts.apply(databaseRule(await this.sources.read('database')));
  }

  /** A database that does not reply says nothing about its partitions. */
  private async checkPartitions(): Promise<void> {
    const missing = await this.sources.read('missingPartitions').catch(() => undefined);
    if (missing) this.alerts.apply(partitionRule(missing));
  }

  private start(name: string, query: () => Promise<void>): void {
    if (this.queries.has(name)) return;
    const running = query()
      .catch((error: unknown) => this.logger.error(`Asking for ${name} failed: ${String(error)}`))
      .finally(() => this.queries.delete(name));
    this.queries.set(name, running);
  }
}

type Limits = Pick<
  MonitoringConfig,
  | 'memoryAlertPercent'
  | 'cacheHitRatioAlertPercent'
  | 'concurrencyAlertPercent'
  | 'slowRequestThresholdMs'
>;

/** Between breach and ok nothing changes; without `isOk` there is nothing between. */
interface Judgement {
  isBreach: boolean;
  isOk?: boolean;
  severity?: Finding['severity'];
  description: string;
  metadata?: Finding['metadata'];
}

type AlertRule<Figures extends unknown[]> = Omit<Finding, 'level' | keyof Judgement> & {
  severity: Finding['severity'];
  judge: (...figures: Figures) => Judgement;
};

function rule<Figures extends unknown[]>({ judge, ...alert }: AlertRule<Figures>) {
  return (...figures: Figures): Finding => {
    const { isBreach, isOk = !isBreach, ...texts } = judge(...figures);
    const level = isBreach ? 'breach' : isOk ? 'ok' : 'hysteresis';
    return { metadata: {}, ...alert, ...texts, level };
  };
}

export const memoryRule = rule({
  type: 'HIGH_MEMORY',
  severity: 'HIGH',
  title: 'Memory is nearly used up',
  source: 'memory',
  raiseAfter: 3, // it swings with garbage collection
  resolveAfter: 3,
  judge: (
    { percentage, limit, used, total }: MemoryUsage,
    { memoryAlertPercent: alertPercent }: Limits,
  ) => ({
    isBreach: percentage > alertPercent,
    isOk: percentage <= alertPercent - MARGIN_PERCENT,
    severity: percentage > CRITICAL_MEMORY_PERCENT ? 'CRITICAL' : 'HIGH',
    description: `${percentage} % of the ${limit} limit is in use; the alert is at ${alertPercent} %.`,
    metadata: { used, total, percentage, limit, alertPercent },
  }),
});

export const cacheRule = rule({
  type: 'LOW_CACHE_HIT_RATIO',
  severity: 'MEDIUM',
  title: 'Few answers come from the cache',
  source: 'cache',
  raiseAfter: 2,
  resolveAfter: 2,
  judge: (
    { window: { requests, hitRatio } }: CacheFigures,
    { cacheHitRatioAlertPercent: alertPercent }: Limits,
  ) => {
    const isKnown = hitRatio !== undefined && requests >= MIN_CACHE_REQUESTS;
    return {
      isBreach: isKnown && hitRatio < alertPercent,
      isOk: !isKnown || hitRatio >= Math.min(100, alertPercent + MARGIN_PERCENT),
      description: `${hitRatio ?? 0} % of ${requests} requests of the last five minutes were hits; the alert is below ${alertPercent} %.`,
      metadata: { hitRatio: hitRatio ?? null, requests, alertPercent },
    };
  },
});

export const concurrencyRule = rule({
  type: 'HIGH_CONCURRENCY',
  severity: 'MEDIUM',
  title: 'The service is at its limit of concurrent requests',
  source: 'concurrency',
  raiseAfter: 2, // a burst that is over at once is what the queue is for
  resolveAfter: 2,
  judge: (
    { activeRequests, queuedRequests, maxConcurrentRequests }: ConcurrencyFigures,
    { concurrencyAlertPercent: alertPercent }: Limits,
  ) => {
    const percent = maxConcurrentRequests ? (100 * activeRequests) / maxConcurrentRequests : 0;
    return {
      isBreach: percent > alertPercent,
      isOk: percent <= Math.max(0, alertPercent - MARGIN_PERCENT),
      severity: queuedRequests > 0 ? 'HIGH' : 'MEDIUM',
      description: `${activeRequests} of ${maxConcurrentRequests} requests run and ${queuedRequests} wait; the alert is at ${alertPercent} %.`,
      metadata: { activeRequests, queuedRequests, maxConcurrentRequests, alertPercent },
    };
  },
});

export const slowRequestsRule = rule({
  type: 'SLOW_REQUESTS',
  severity: 'MEDIUM',
  title: 'Requests are slow',
  source: 'requests',
  raiseAfter: 1, // the figures are of a window already
  resolveAfter: 2,
  judge: (
    { slow, count, seconds, p95Ms, p99Ms }: LatencyReport,
    { slowRequestThresholdMs: thresholdMs }: Limits,
  ) => {
    const share = count === 0 ? 0 : slow / count;
    return {
      isBreach: slow >= MIN_SLOW_REQUESTS && share >= SLOW_SHARE,
      isOk: slow < MIN_SLOW_REQUESTS / 2 || share < SLOW_SHARE / 2,
      severity: share >= 0.5 ? 'HIGH' : 'MEDIUM',
      description: `${slow} of ${count} requests of the last ${Math.round(seconds)} s took ${thresholdMs} ms or longer.`,
      metadata: {
        slow,
        requests: count,
        thresholdMs,
        p95Ms: Math.round(p95Ms),
        p99Ms: Math.round(p99Ms),
      },
    };
  },
});

export const poolRule = rule({
  type: 'POOL_EXHAUSTED',
  severity: 'HIGH',
  title: 'The connection pool is exhausted',
  source: 'database',
  raiseAfter: 2, // a caller that waits a moment is no fault
  resolveAfter: 2,
  judge: ({ total, idle, waiting, max }: PoolFigures) => ({
    isBreach: waiting > 0 && total - idle >= max,
    isOk: waiting === 0,
    description: `All ${max} connections are in use and ${waiting} callers wait for one.`,
    metadata: { total, idle, waiting, max },
  }),
});

export const databaseRule = rule({
  type: 'DATABASE_UNAVAILABLE',
  severity: 'CRITICAL',
  title: 'PostgreSQL does not answer',
  source: 'database',
  raiseAfter: 2, // a restart behind a pooler is over in a second
  resolveAfter: 1,
  judge: (isUp: boolean) => ({
    isBreach: !isUp,
    description: 'Requests that need the database are answered with 503 until it is back.',
  }),
});

export const redisRule = rule({
  type: 'REDIS_UNAVAILABLE',
  severity: 'HIGH',
  title: 'Redis does not answer or refuses writes',
  source: 'redis',
  raiseAfter: 2,
  resolveAfter: 2,
  judge: (isUp: boolean) => ({
    isBreach: !isUp,
    description: 'Replicas share no cache until it is back; nothing is lost.',
  }),
});

export const keySetRule = rule({
  type: 'KEY_SET_UNAVAILABLE',
  severity: 'HIGH',
  title: 'The key set that verifies tokens cannot be read',
  source: 'authentication',
  raiseAfter: 2,
  resolveAfter: 1,
  judge: (isUp: boolean) => ({
    isBreach: !isUp,
    description:
      'Tokens of known keys are verified for AUTH_JWKS_STALE_SECONDS after the last read; others get 503.',
  }),
});

export const partitionRule = rule({
  type: 'PARTITION_MISSING',
  severity: 'HIGH',
  title: 'Partitions that should exist ahead are missing',
  source: 'database',
  raiseAfter: 1,
  resolveAfter: 1,
  judge: (missing: string[]) => ({
    isBreach: missing.length > 0,
    description: `Missing: ${missing.join(', ') || 'none'}.`,
    metadata: { missing },
  }),
});

export const lossRule = rule({
  type: 'EVENTS_LOST',
  severity: 'CRITICAL',
  title: 'PostgreSQL has lost acknowledged events',
  source: 'database',
  raiseAfter: 1, // what is lost does not come back; the source reports it for a quarter of an hour
  resolveAfter: 1,
  judge: ({ recent, from, to }: LossFigures) => ({
    isBreach: recent > 0,
    description: `The log of ${recent} organizations went back (of the first, from ${from}${to === undefined ? '' : ` to ${to}`}): numbers are given again.`,
    metadata: { organizations: recent, from, to: to ?? null },
  }),
});

export const stallRule = rule({
  type: 'COMMITS_STALLED',
  severity: 'CRITICAL',
  title: 'PostgreSQL does not confirm commits',
  source: 'database',
  raiseAfter: 1, // each write is refused
  resolveAfter: 2, // a standby may go again right after it came
  judge: (isStalled: boolean) => ({
    isBreach: isStalled,
    description:
      'A standby of synchronous_standby_names does not answer: writes are refused with 503 until it does.',
  }),
});
