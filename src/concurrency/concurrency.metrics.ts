import { Injectable } from '@nestjs/common';
import { MetricSources } from '../metrics/measurement-sources';
import { MetricsRegistry } from '../metrics/metrics.registry';
import { ConnectionTurns } from './connection-limiter';
import { FairTurns, type TurnStatistics } from './fair-scheduler';
import { LargeTurns } from './large-body-limiter';

const MS_PER_SECOND = 1000;

/** Turns in the service's own figures. Lanes are organizations, so no series names one. */
@Injectable()
export class ConcurrencyMetrics {
  constructor(
    private readonly registry: MetricsRegistry,
    private readonly turns: FairTurns,
    private readonly connections: ConnectionTurns,
    private readonly large: LargeTurns,
    sources: MetricSources,
  ) {
    sources.offer('concurrency', () => {
      const { active, queued, max, queueSize } = turns.statistics();
      return {
        activeRequests: active,
        queuedRequests: queued + large.queued,
        maxConcurrentRequests: max,
        queueSize,
      };
    });
    this.gauge('concurrency_active_requests', 'Requests that have their turn.', 'active');
    registry.offer(
      {
        name: 'concurrency_queued_requests',
        help: 'Requests that wait for their turn, those with large bodies for a large one.',
        type: 'gauge',
      },
      () => turns.queued + large.queued,
    );
    registry.offer(
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
      'lanes',
    );
    this.gauge(
      'concurrency_max_requests',
      'Requests that may have their turn at once: CONCURRENCY_MAX_REQUESTS.',
      'max',
    );
    this.offerEnds();
  }

  private gauge(name: string, help: string, member: 'active' | 'lanes' | 'max'): void {
    this.registry.offer({ name, help, type: 'gauge' }, () => this.turns.statistics()[member]);
  }

  private statistics(): [TurnStatistics, TurnStatistics, TurnStatistics] {
    return [this.turns.statistics(), this.connections.statistics(), this.large.statistics()];
  }

  private offerEnds(): void {
    this.registry.offer(
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
    this.registry.offer(
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
