import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { monitoringConfig } from '../platform/config/settings';
import { RollingWindow } from '../platform/runtime/rolling-window';
import type { SlowRequestsDto } from './dto/responses.dto';
import { MetricRegistry, type Sample } from './metrics.registry';

/** There are a few dozen routes; the bound is for names that a client could influence. */
const MAX_ROUTES = 200;
const OTHER_ROUTE = 'other';
/** `WS` are operations on WebSockets. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'WS']);
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const MS_PER_SECOND = 1000;
const MICROSECONDS_PER_MS = 1000;
const SECONDS_PER_MINUTE = 60;
/** A minute of seconds, an hour of minutes. */
const SLOTS = 60;
const LONGEST_MICROSECONDS = 3_600_000_000;
const LISTED_ENDPOINTS = 10;

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
    registry.counter('audit_http_requests_total', 'Requests answered.', () =>
      this.requestSamples(),
    );
    registry.register(
      'histogram',
      'audit_http_request_duration_seconds',
      'Time from the arrival of a request to the end of its answer; of streams to their first byte.',
      () => this.durationSamples(),
    );
    registry.counter(
      'audit_http_slow_requests_total',
      'Requests that took SLOW_REQUEST_THRESHOLD_MS or longer.',
      () => this.slowTotal,
    );
    registry.gauge('audit_http_requests_in_flight', 'Requests being answered.', () =>
      this.running(),
    );
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

  slowRequests(): SlowRequestsDto {
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
      stats = {
        endpoint: `${method} ${route}`,
        labels: { method, route },
        statuses: new Map(),
        buckets: new Array<number>(BUCKETS_SECONDS.length + 1).fill(0),
        sumMs: 0,
      };
      byMethod.set(method, stats);
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

/** Durations in milliseconds; zeros when there were none. */
export interface LatencyReport {
  seconds: number;
  count: number;
  slow: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}

/**
 * Durations of the last sixty slots, by default seconds: one HDR histogram of 32 kB a slot, so that recording costs the
 * same at any rate (17 to 32 ns here), and old slots are overwritten.
 */
export class LatencyWindow {
  private readonly window: RollingWindow<LatencySlot>;
  private readonly startedAtSeconds: number;

  /** `nowSeconds` is a monotonic clock. */
  constructor(
    private readonly nowSeconds = monotonicSeconds,
    slotSeconds = 1,
  ) {
    this.window = new RollingWindow(slotSeconds, SLOTS, emptySlot, (slot) => {
      slot.histogram.reset();
      Object.assign(slot, { count: 0, slow: 0, sumMs: 0 });
    });
    this.startedAtSeconds = nowSeconds();
  }

  record(durationMs: number, isSlow: boolean): void {
    const slot = this.window.current(this.nowSeconds());
    slot.count += 1;
    slot.slow += isSlow ? 1 : 0;
    slot.sumMs += durationMs;
    const microseconds = Math.round(durationMs * MICROSECONDS_PER_MS);
    slot.histogram.record(Math.min(LONGEST_MICROSECONDS, Math.max(1, microseconds)));
  }

  /** The last `seconds`, at most and by default sixty slots: whole ones, and the current one. */
  read(seconds = Infinity): LatencyReport {
    const now = this.nowSeconds();
    const slots = Math.min(SLOTS, Math.ceil(seconds / this.window.slotSeconds));
    const beginSeconds = Math.max(this.window.beginSeconds(now, slots), this.startedAtSeconds);
    const sum = emptySlot();
    for (const slot of this.window.recent(now, slots)) {
      sum.histogram.add(slot.histogram);
      sum.count += slot.count;
      sum.slow += slot.slow;
      sum.sumMs += slot.sumMs;
    }
    const { histogram, count, slow, sumMs } = sum;
    const percentileMs = (percent: number): number =>
      count === 0 ? 0 : histogram.percentile(percent) / MICROSECONDS_PER_MS;
    return {
      // At least one second: the first milliseconds of a process give no rate.
      seconds: Math.max(1, now - beginSeconds),
      count,
      slow,
      meanMs: count === 0 ? 0 : sumMs / count,
      p50Ms: percentileMs(50),
      p95Ms: percentileMs(95),
      p99Ms: percentileMs(99),
    };
  }
}

interface LatencySlot {
  /** Percentiles are exact to one percent: two significant figures in an HDR histogram. */
  histogram: RecordableHistogram;
  count: number;
  slow: number;
  sumMs: number;
}

function emptySlot(): LatencySlot {
  const histogram = createHistogram({ lowest: 1, highest: LONGEST_MICROSECONDS, figures: 2 });
  return { histogram, count: 0, slow: 0, sumMs: 0 };
}

interface Tally {
  count: number;
  sumMs: number;
}

/** Endpoints that were slow in the last hour; the recorder bounds their number. */
export class SlowRequests {
  private readonly endpoints = new Map<string, RollingWindow<Tally>>();

  /** `nowSeconds` is a monotonic clock. */
  constructor(private readonly nowSeconds = monotonicSeconds) {}

  record(endpoint: string, durationMs: number): void {
    let hour = this.endpoints.get(endpoint);
    if (!hour) {
      hour = new RollingWindow<Tally>(
        SECONDS_PER_MINUTE,
        SLOTS,
        () => ({ count: 0, sumMs: 0 }),
        (minute) => Object.assign(minute, { count: 0, sumMs: 0 }),
      );
      this.endpoints.set(endpoint, hour);
    }
    const minute = hour.current(this.nowSeconds());
    minute.count += 1;
    minute.sumMs += durationMs;
  }

  /** Averages in milliseconds, of slow requests alone. */
  read(): SlowRequestsDto {
    const now = this.nowSeconds();
    const total: Tally = { count: 0, sumMs: 0 };
    const endpoints: SlowRequestsDto['slowestEndpoints'] = [];
    for (const [endpoint, hour] of this.endpoints) {
      let [count, sumMs] = [0, 0];
      for (const minute of hour.recent(now)) {
        count += minute.count;
        sumMs += minute.sumMs;
      }
      if (count > 0) endpoints.push({ endpoint, averageTime: sumMs / count, count });
      total.count += count;
      total.sumMs += sumMs;
    }
    return {
      count: total.count,
      averageTime: total.count === 0 ? 0 : total.sumMs / total.count,
      slowestEndpoints: endpoints
        .sort((a, b) => b.averageTime - a.averageTime)
        .slice(0, LISTED_ENDPOINTS),
    };
  }
}

function monotonicSeconds(): number {
  return performance.now() / MS_PER_SECOND;
}
