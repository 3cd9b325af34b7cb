import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../platform/config/monitoring.config';
import { type LatencyReport, LatencyWindow } from './latency-window';
import { MetricRegistry, type Sample } from './metrics.registry';
import { SlowRequests, type SlowRequestsReport } from './slow-requests';

/** Routes told apart. There are a few dozen; the bound is for names that a client could have a hand in. */
const MAX_ROUTES = 200;
const OTHER_ROUTE = 'other';
/** `WS` are operations on WebSockets. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'WS']);
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const MS_PER_SECOND = 1000;
const SECONDS_PER_MINUTE = 60;

/** What is counted of one method of one route since the start. */
interface Meter {
  endpoint: string;
  labels: { method: string; route: string };
  statuses: Map<number, number>;
  /** One count for each bucket, and one for what is beyond them. */
  buckets: number[];
  sumMs: number;
}

/**
 * Counts every request through every door: how many, how long, how they ended. O(1) for each, whatever came before;
 * the series of Prometheus and the percentiles of the last minute and hour are made when somebody asks.
 */
@Injectable()
export class RequestRecorder {
  private readonly meters = new Map<string, Map<string, Meter>>();
  private readonly minute = new LatencyWindow();
  private readonly hour = new LatencyWindow(undefined, SECONDS_PER_MINUTE);
  private readonly slow = new SlowRequests();
  private slowTotal = 0;
  private running: () => number = () => 0;

  constructor(
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
    registry: MetricRegistry,
  ) {
    registry.register(
      { name: 'http_requests_total', help: 'Requests answered.', type: 'counter' },
      () => this.requestSamples(),
    );
    registry.register(
      {
        name: 'http_request_duration_seconds',
        help: 'Time from the arrival of a request to the end of its answer; of streams to their first byte.',
        type: 'histogram',
      },
      () => this.durationSamples(),
    );
    registry.register(
      {
        name: 'http_slow_requests_total',
        help: 'Requests that took SLOW_REQUEST_THRESHOLD_MS or longer.',
        type: 'counter',
      },
      () => this.slowTotal,
    );
    registry.register(
      { name: 'http_requests_in_flight', help: 'Requests being answered.', type: 'gauge' },
      () => this.running(),
    );
  }

  /**
   * Notes the end of a request. `route` is a template, never a path with ids in it; `status` is 499 when the answer was
   * not taken to its end.
   */
  record(method: string, route: string, status: number, durationMs: number): void {
    const meter = this.statsOf(method, route);
    meter.statuses.set(status, (meter.statuses.get(status) ?? 0) + 1);
    const seconds = durationMs / MS_PER_SECOND;
    let bucket = 0;
    while (bucket < BUCKETS_SECONDS.length && seconds > (BUCKETS_SECONDS[bucket] ?? 0)) bucket += 1;
    meter.buckets[bucket] = (meter.buckets[bucket] ?? 0) + 1;
    meter.sumMs += durationMs;
    const isSlow = durationMs >= this.config.slowRequestThresholdMs;
    this.minute.record(durationMs, isSlow);
    this.hour.record(durationMs, isSlow);
    if (!isSlow) return;
    this.slowTotal += 1;
    this.slow.record(meter.endpoint, durationMs);
  }

  /** Says where the number of requests under way is to be had. */
  watchRunning(running: () => number): void {
    this.running = running;
  }

  /** The last `seconds`, at most and by default a minute. */
  lastSeconds(seconds?: number): LatencyReport {
    return this.minute.read(seconds);
  }

  /** The last hour. */
  lastHour(): LatencyReport {
    return this.hour.read();
  }

  /** The slow requests of the last hour, by endpoint. */
  slowRequests(): SlowRequestsReport {
    return this.slow.read();
  }

  private statsOf(method: string, route: string): Meter {
    let byMethod = this.meters.get(route);
    if (!byMethod) {
      if (this.meters.size >= MAX_ROUTES && route !== OTHER_ROUTE) {
        return this.statsOf(method, OTHER_ROUTE);
      }
      this.meters.set(route, (byMethod = new Map<string, Meter>()));
    }
    let meter = byMethod.get(method);
    if (!meter) {
      if (!METHODS.has(method) && method !== 'OTHER') return this.statsOf('OTHER', route);
      byMethod.set(method, (meter = emptyMeter(method, route)));
    }
    return meter;
  }

  private *all(): Iterable<Meter> {
    for (const byMethod of this.meters.values()) yield* byMethod.values();
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

function emptyMeter(method: string, route: string): Meter {
  return {
    endpoint: `${method} ${route}`,
    labels: { method, route },
    statuses: new Map(),
    buckets: new Array<number>(BUCKETS_SECONDS.length + 1).fill(0),
    sumMs: 0,
  };
}
