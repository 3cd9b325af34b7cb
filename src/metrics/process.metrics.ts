import {
  Injectable,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { totalmem } from 'node:os';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { MetricRegistry } from './metrics.registry';

const MS_PER_SECOND = 1000;
const NANOSECONDS_PER_MS = 1e6;
const RESOLUTION_MS = 10;
/** Two histograms of half a minute each, so that figures are never older than a minute. */
const HALF_WINDOW_MS = 30_000;
/**
 * Earlier there are too few samples: of the two hundred of two seconds, three late ones (the first requests of a
 * process) would be the 99th percentile.
 */
const MIN_MEASURED_MS = 10_000;

export interface EventLoopDelays {
  p50: number;
  p99: number;
}

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

/** Process metrics that prom-client leaves out. */
@Injectable()
export class ProcessMetrics {
  constructor(registry: MetricRegistry, loop: EventLoopDelay) {
    registry.gauge(
      'audit_memory_limit_used_ratio',
      'Memory in use over the limit that is nearer to being reached: V8 heap, or container.',
      () => {
        const { used, total, limit } = memoryUsage();
        return [{ labels: { limit }, value: used / total }];
      },
    );
    registry.gauge(
      'audit_event_loop_delay_seconds',
      'How late timers fire, over the last half to whole minute.',
      () => {
        const { p50, p99 } = loop.read();
        return [
          { labels: { percentile: '50' }, value: p50 / MS_PER_SECOND },
          { labels: { percentile: '99' }, value: p99 / MS_PER_SECOND },
        ];
      },
    );
  }
}

/** Memory against the limit that ends the process: bytes, and percent with one decimal. */
export interface MemoryUsage {
  used: number;
  total: number;
  percentage: number;
  limit: 'heap' | 'container' | 'machine';
}

/**
 * The nearer of two limits that can end the process, with its usage: V8's for the heap; for all of it the container's
 * (cgroup) or else the machine's.
 */
export function memoryUsage(): MemoryUsage {
  const { used_heap_size: heapUsed, heap_size_limit: heapLimit } = getHeapStatistics();
  const heap = usageOf(heapUsed, heapLimit, 'heap');
  const { bytes, limit } = processLimit();
  const whole = usageOf(process.memoryUsage.rss(), bytes, limit);
  return heap.percentage >= whole.percentage ? heap : whole;
}

export function processLimit(): { bytes: number; limit: 'container' | 'machine' } {
  const machine = totalmem();
  // Zero or more than there is: no cgroup, or one without a limit.
  const constrained = process.constrainedMemory?.() ?? 0;
  const isConstrained = constrained > 0 && constrained < machine;
  return isConstrained
    ? { bytes: constrained, limit: 'container' }
    : { bytes: machine, limit: 'machine' };
}

function usageOf(used: number, total: number, limit: MemoryUsage['limit']): MemoryUsage {
  return { used, total, percentage: Math.round((1000 * used) / total) / 10, limit };
}
