import { Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PerformanceMetricsDto } from './dto/responses.dto';
import { PerformanceReport } from './performance.report';

/** Figures are of the last minute: more often would show nothing new. */
const INTERVAL_MS = 1000;

@Injectable()
export class MetricsFeed {
  private latest: { atMs: number; metrics: PerformanceMetricsDto } | undefined;

  constructor(private readonly report: PerformanceReport) {}

  /** Current figures, then at most once a second, until the signal aborts. A slow reader gets them less often. */
  async *follow(signal: AbortSignal): AsyncGenerator<PerformanceMetricsDto> {
    while (!signal.aborted) {
      yield this.current();
      await sleep(INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Made once for all readers of about the same time. */
  private current(): PerformanceMetricsDto {
    const nowMs = performance.now();
    if (!this.latest || nowMs - this.latest.atMs >= INTERVAL_MS / 2) {
      this.latest = { atMs: nowMs, metrics: this.report.metrics() };
    }
    return this.latest.metrics;
  }
}
