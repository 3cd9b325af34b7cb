import { Injectable } from '@nestjs/common';
import { EventLoopDelay } from './event-loop-delay';
import { MetricRegistry } from './metrics.registry';
import { memoryUsage } from './process-memory';

const MS_PER_SECOND = 1000;

/** Process metrics that prom-client leaves out. */
@Injectable()
export class ProcessMetrics {
  constructor(registry: MetricRegistry, loop: EventLoopDelay) {
    registry.gauge(
      'memory_limit_used_ratio',
      'Memory in use over the limit that is nearer to being reached: V8 heap, or container.',
      () => {
        const { used, total, limit } = memoryUsage();
        return [{ labels: { limit }, value: used / total }];
      },
    );
    registry.gauge(
      'event_loop_delay_seconds',
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
