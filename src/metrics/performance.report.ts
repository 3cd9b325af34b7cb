import { Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PerformanceMetricsDto, SpanDto } from './dto/responses.dto';
import { MeasurementSources } from './measurement-sources';
import { EventLoopDelay, memoryUsage } from './process.metrics';
import { type LatencyReport, RequestRecorder } from './request-recorder';
import { wallClockText } from '../platform/runtime/clocks';

/** Figures are of the last minute: more often would show nothing new. */
const FEED_INTERVAL_MS = 1000;

/** Figures of /performance/metrics, for every protocol. */
@Injectable()
export class PerformanceReport {
  private latest: { atMs: number; metrics: PerformanceMetricsDto } | undefined;

  constructor(
    private readonly recorder: RequestRecorder,
    private readonly loop: EventLoopDelay,
    private readonly sources: MeasurementSources,
  ) {}

  /** Times in milliseconds; figures without a source are zero. */
  metrics(): PerformanceMetricsDto {
    const { seconds, requests, ...lastMinute } = spanOf(this.recorder.lastSeconds());
    const { used, total, percentage } = memoryUsage();
    const slow = this.recorder.slowRequests();
    const { hitRatio, totalRequests, totalHits, totalMisses } = this.sources.read('cache');
    const { activeRequests, queuedRequests, maxConcurrentRequests } =
      this.sources.read('concurrency');
    return {
      timestamp: wallClockText(),
      window: { seconds, requests },
      ...lastMinute,
      lastHour: spanOf(this.recorder.lastHour()),
      memoryUsage: { used, total, percentage },
      cacheStats: { hitRatio, totalRequests, totalHits, totalMisses },
      concurrency: { activeRequests, queuedRequests, maxConcurrentRequests },
      eventLoopDelay: this.loop.read(),
      slowRequests: {
        count: slow.count,
        averageTime: rounded(slow.averageTime),
        slowestEndpoints: slow.slowestEndpoints.map((one) => ({
          ...one,
          averageTime: rounded(one.averageTime),
        })),
      },
    };
  }

  /** Current figures, then at most once a second, until the signal aborts. A slow reader gets them less often. */
  async *follow(signal: AbortSignal): AsyncGenerator<PerformanceMetricsDto> {
    while (!signal.aborted) {
      // Made once for all readers of about the same time.
      const nowMs = performance.now();
      if (!this.latest || nowMs - this.latest.atMs >= FEED_INTERVAL_MS / 2) {
        this.latest = { atMs: nowMs, metrics: this.metrics() };
      }
      yield this.latest.metrics;
      await sleep(FEED_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

function spanOf({ seconds, count, meanMs, p50Ms, p95Ms, p99Ms }: LatencyReport): SpanDto {
  return {
    seconds: rounded(seconds),
    requests: count,
    requestsPerSecond: rounded(count / seconds),
    averageResponseTime: rounded(meanMs),
    percentiles: { p50: rounded(p50Ms), p95: rounded(p95Ms), p99: rounded(p99Ms) },
  };
}

function rounded(value: number): number {
  return Math.round(100 * value) / 100;
}
