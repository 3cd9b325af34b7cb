import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../platform/config/settings';
import { type LatencyReport, LatencyWindow } from './latency-window';
import { MetricRegistry, type Sample } from './metrics.registry';
import { SlowRequests, type SlowRequestsReport } from './slow-requests';

/** There are a few dozen routes; the bound is for names that a client could influence. */
const MAX_ROUTES = 200;
const OTHER_ROUTE = 'other';
/** `WS` are operations on WebSockets. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'WS']);
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const MS_PER_SECOND = 1000;
const SECONDS_PER_MINUTE = 60;

/** Counts of one method of one route since the start. */
interface RouteStats {
  endpoint: string;
  labels: { method: string; route: string };
  statuses: Map<number, number>;
  buckets: number[];
  sumMs: number;
}

/**
 * Counts requests of every protocol: number, duration, status. O(1) each; series and percentiles of the last minute and
 * hour are made when read.
 */
@Injectable()
export class RequestRecorder {
  /** By route, then by method. */
  private readonly stats = new Map<string, Map<string, RouteStats>>();
  private readonly minute = new LatencyWindow();
  private readonly hour = new LatencyWindow(undefined, SECONDS_PER_MINUTE);
  private readonly slow = new SlowRequests();
  private slowTotal = 0;
  private running: () => number = () => 0;

  constructor(
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
    registry: MetricRegistry,
  ) {
    registry.counter('http_requests_total', 'Requests answered.', () => this.requestSamples());
    registry.register(
      'histogram',
      'http_request_duration_seconds',
      'Time from the arrival of a request to the end of its answer; of streams to their first byte.',
      () => this.durationSamples(),
    );
    registry.counter(
      'http_slow_requests_total',
      'Requests that took SLOW_REQUEST_THRESHOLD_MS or longer.',
      () => this.slowTotal,
    );
    registry.gauge('http_requests_in_flight', 'Requests being answered.', () => this.running());
  }

  /**
   * Records the end of a request. `route` is a template, never a path with ids; `status` is 499 when the response was
   * not read to its end.
   */
  record(method: string, route: string, status: number, durationMs: number): void {
    const stats = this.statsOf(method, route);
    stats.statuses.set(status, (stats.statuses.get(status) ?? 0) + 1);
    const seconds = durationMs / MS_PER_SECOND;
    let bucket = 0;
    while (bucket < BUCKETS_SECONDS.length && seconds > (BUCKETS_SECONDS[bucket] ?? 0)) bucket += 1;
    stats.buckets[bucket] = (stats.buckets[bucket] ?? 0) + 1;
    stats.sumMs += durationMs;
    const isSlow = durationMs >= this.config.slowRequestThresholdMs;
    this.minute.record(durationMs, isSlow);
    this.hour.record(durationMs, isSlow);
    if (!isSlow) return;
    this.slowTotal += 1;
    this.slow.record(stats.endpoint, durationMs);
  }

  watchRunning(running: () => number): void {
    this.running = running;
  }

  lastSeconds(seconds?: number): LatencyReport {
    return this.minute.read(seconds);
  }

  lastHour(): LatencyReport {
    return this.hour.read();
  }

  slowRequests(): SlowRequestsReport {
    return this.slow.read();
  }

  private statsOf(method: string, route: string): RouteStats {
    let byMethod = this.stats.get(route);
    if (!byMethod) {
      if (this.stats.size >= MAX_ROUTES && route !== OTHER_ROUTE) {
        return this.statsOf(method, OTHER_ROUTE);
      }
      this.stats.set(route, (byMethod = new Map<string, RouteStats>()));
    }
    let stats = byMethod.get(method);
    if (!stats) {
      if (!METHODS.has(method) && method !== 'OTHER') return this.statsOf('OTHER', route);
      byMethod.set(method, (stats = emptyStats(method, route)));
    }
    return stats;
  }

  private *all(): Iterable<RouteStats> {
    for (const byMethod of this.stats.values()) yield* byMethod.values();
  }

  private *requestSamples(): Iterable<Sample> {
    for (const { labels, statuses } of this.all()) {
      for (const [status, value] of statuses) {
        yield { labels: { ...labels, status: String(status) }, value };
      }
    }
  }

  private *durationSamples(): Iterable<Sample> {
    for (const { labels, buckets, sumMs } of this.all()) {
      let count = 0;
      for (const [at, bucket] of buckets.entries()) {
        count += bucket;
        const le = at < BUCKETS_SECONDS.length ? String(BUCKETS_SECONDS[at]) : '+Inf';
        yield { labels: { ...labels, le }, value: count, suffix: '_bucket' };
      }
      yield { labels, value: sumMs / MS_PER_SECOND, suffix: '_sum' };
      yield { labels, value: count, suffix: '_count' };
    }
  }
}

function emptyStats(method: string, route: string): RouteStats {
  return {
    endpoint: `${method} ${route}`,
    labels: { method, route },
    statuses: new Map(),
    buckets: new Array<number>(BUCKETS_SECONDS.length + 1).fill(0),
    sumMs: 0,
  };
}
