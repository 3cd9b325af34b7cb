import { Injectable } from '@nestjs/common';
import { wallClockText } from '../platform/runtime/clocks';
import type { PerformanceMetricsDto, SpanDto } from './dto/responses.dto';
import { EventLoopDelay } from './event-loop-delay';
import type { LatencyReport } from './latency-window';
import { MeasurementSources } from './measurement-sources';
import { memoryUsage } from './process-memory';
import { RequestRecorder } from './request-recorder';

/** Figures of /performance/metrics, for every protocol. */
@Injectable()
export class PerformanceReport {
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
    return {
      timestamp: wallClockText(),
      window: { seconds, requests },
      ...lastMinute,
      lastHour: spanOf(this.recorder.lastHour()),
      memoryUsage: { used, total, percentage },
      cacheStats: this.cache(),
      concurrency: this.concurrency(),
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

  private cache() {
    const {
      hitRatio = 0,
      totalRequests = 0,
      totalHits = 0,
      totalMisses = 0,
    } = this.sources.find('cache')?.() ?? {};
    return { hitRatio, totalRequests, totalHits, totalMisses };
  }

  private concurrency() {
    const {
      activeRequests = 0,
      queuedRequests = 0,
      maxConcurrentRequests = 0,
    } = this.sources.find('concurrency')?.() ?? {};
    return { activeRequests, queuedRequests, maxConcurrentRequests };
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
