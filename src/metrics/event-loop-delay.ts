import {
  Injectable,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 10;
const NANOSECONDS_PER_MS = 1e6;
/** Two histograms of half a minute each, so that figures are never older than a minute. */
const HALF_WINDOW_MS = 30_000;

export interface EventLoopDelays {
  p50: number;
  p99: number;
}

/**
 * Earlier there are too few samples: of the two hundred of two seconds, three late ones (the first requests of a
 * process) would be the 99th percentile.
 */
const MIN_MEASURED_MS = 10_000;

/** Event loop delay over the last half to whole minute, in milliseconds, without the boot. */
@Injectable()
export class EventLoopDelay implements OnApplicationBootstrap, OnApplicationShutdown {
  private older: Measured | undefined;
  private newer: Measured | undefined;
  private rotation: NodeJS.Timeout | undefined;

  onApplicationBootstrap(): void {
    this.newer = started();
    this.rotation = setInterval(() => this.rotate(), HALF_WINDOW_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.rotation);
    this.older?.histogram.disable();
    this.newer?.histogram.disable();
  }

  /** Zero for the first ten seconds. */
  read(): EventLoopDelays {
    const measured = this.older ?? this.newer;
    if (!measured || performance.now() - measured.sinceMs < MIN_MEASURED_MS)
      return { p50: 0, p99: 0 };
    return { p50: delayMs(measured.histogram, 50), p99: delayMs(measured.histogram, 99) };
  }

  /** Both record all the time; the older one, which is read, for at least half a minute. */
  private rotate(): void {
    this.older?.histogram.disable();
    this.older = this.newer;
    this.newer = started();
  }
}

interface Measured {
  histogram: IntervalHistogram;
  sinceMs: number;
}

function started(): Measured {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return { histogram, sinceMs: performance.now() };
}

/** Node records the time between two runs of its timer: the resolution is no delay. */
function delayMs(histogram: IntervalHistogram, percent: number): number {
  if (histogram.count === 0) return 0;
  const ms = histogram.percentile(percent) / NANOSECONDS_PER_MS - RESOLUTION_MS;
  return Math.max(0, Math.round(100 * ms) / 100);
}
