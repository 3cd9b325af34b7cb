import { Injectable } from '@nestjs/common';
import { MeasurementSources } from '../metrics/measurement-sources';
import { MetricRegistry } from '../metrics/metrics.registry';
import { ConnectionLimiter } from './connection-limiter';
import { FairScheduler, type PermitStatistics } from './fair-scheduler';
import { LargeBodyLimiter } from './large-body-limiter';

const MS_PER_SECOND = 1000;

/** Turns in the service's own figures. Flows are organizations, so no series names one. */
@Injectable()
export class ConcurrencyMetrics {
  constructor(
    private readonly registry: MetricRegistry,
    private readonly scheduler: FairScheduler,
    private readonly connections: ConnectionLimiter,
    private readonly large: LargeBodyLimiter,
    sources: MeasurementSources,
  ) {
    sources.register('concurrency', () => {
      const { active, queued, max, queueSize } = scheduler.statistics();
      return {
        activeRequests: active,
        queuedRequests: queued + large.queued,
        maxConcurrentRequests: max,
        queueSize,
      };
    });
    this.gauge('concurrency_active_requests', 'Requests that have their turn.', 'active');
    registry.register(
      {
        name: 'concurrency_queued_requests',
        help: 'Requests that wait for their turn, those with large bodies for a large one.',
        type: 'gauge',
      },
      () => scheduler.queued + large.queued,
    );
    registry.register(
      {
        name: 'concurrency_active_large_requests',
        help: 'Requests with large bodies that are worked at, or wait for their turn to work.',
        type: 'gauge',
      },
      () => large.statistics().active,
    );
    this.gauge(
      'concurrency_waiting_lanes',
      'Organizations and readers of several that wait.',
      'flows',
    );
    this.gauge(
      'concurrency_max_requests',
      'Requests that may have their turn at once: CONCURRENCY_MAX_REQUESTS.',
      'max',
    );
    this.registerEnds();
  }

  private gauge(name: string, help: string, member: 'active' | 'flows' | 'max'): void {
    this.registry.register(
      { name, help, type: 'gauge' },
      () => this.scheduler.statistics()[member],
    );
  }

  private statistics(): [PermitStatistics, PermitStatistics, PermitStatistics] {
    return [this.scheduler.statistics(), this.connections.statistics(), this.large.statistics()];
  }

  private registerEnds(): void {
    this.registry.register(
      {
        name: 'concurrency_turns_total',
        help: 'Turns that were granted, and those that were not, or were cut short, by why.',
        type: 'counter',
      },
      () => {
        const [turns, connections, large] = this.statistics();
        const counts = {
          granted: turns.granted,
          shed: turns.shed + large.shed,
          // Who has one turn and waits for the next in vain is refused by that one's queue.
          queue_timeout: turns.queueTimeouts + large.queueTimeouts + connections.queueTimeouts,
          timed_out: turns.timedOut + large.timedOut,
          cancelled: turns.cancelled + large.cancelled,
        };
        return Object.entries(counts).map(([outcome, value]) => ({ labels: { outcome }, value }));
      },
    );
    this.registry.register(
      {
        name: 'concurrency_wait_seconds_total',
        help: 'Time that turns were waited for, those to a connection and those for large bodies too.',
        type: 'counter',
      },
      () => {
        const waits = this.statistics().map((turns) => turns.waits.all);
        return waits.reduce((sum, { totalMs }) => sum + totalMs, 0) / MS_PER_SECOND;
      },
    );
  }
}
