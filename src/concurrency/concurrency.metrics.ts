import { Injectable } from '@nestjs/common';
import { MetricSources } from '../metrics/metric-sources';
import { MetricsRegistry } from '../metrics/metrics.registry';
import { ConnectionTurns } from './connection-turns';
import { FairTurns } from './fair-turns';
import { SubscriptionLimiter } from './subscription-limiter';

const MS_PER_SECOND = 1000;

/** Turns in the service's own figures. Lanes are organizations, so no series names one. */
@Injectable()
export class ConcurrencyMetrics {
  constructor(
    private readonly registry: MetricsRegistry,
    private readonly turns: FairTurns,
    private readonly connections: ConnectionTurns,
    sources: MetricSources,
    subscriptions: SubscriptionLimiter,
  ) {
    sources.offer('concurrency', () => {
      const { active, queued, max, queueSize } = turns.statistics();
      return {
        activeRequests: active,
        queuedRequests: queued,
        maxConcurrentRequests: max,
        queueSize,
      };
    });
    this.gauge('concurrency_active_requests', 'Requests that have their turn.', 'active');
    this.gauge('concurrency_queued_requests', 'Requests that wait for their turn.', 'queued');
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
    registry.offer(
      {
        name: 'concurrency_active_subscriptions',
        help: 'Live subscriptions: server-sent events, GraphQL over WebSockets, tRPC.',
        type: 'gauge',
      },
      () =>
        Object.entries(subscriptions.activeByKind).map(([kind, value]) => ({
          labels: { kind },
          value,
        })),
    );
    this.offerEnds();
  }

  private gauge(name: string, help: string, member: 'active' | 'queued' | 'lanes' | 'max'): void {
    this.registry.offer({ name, help, type: 'gauge' }, () => this.turns.statistics()[member]);
  }

  private offerEnds(): void {
    this.registry.offer(
      {
        name: 'concurrency_turns_total',
        help: 'Turns that were granted, and those that were not, or were cut short, by why.',
        type: 'counter',
      },
      () => {
        const { granted, shed, queueTimeouts, timedOut, cancelled } = this.turns.statistics();
        const counts = {
          granted,
          shed,
          // Who has a turn to work and none to a connection is refused by the second queue.
          queue_timeout: queueTimeouts + this.connections.statistics().queueTimeouts,
          timed_out: timedOut,
          cancelled,
        };
        return Object.entries(counts).map(([outcome, value]) => ({ labels: { outcome }, value }));
      },
    );
    this.registry.offer(
      {
        name: 'concurrency_wait_seconds_total',
        help: 'Time that turns were waited for, those to a connection too.',
        type: 'counter',
      },
      () => {
        const waits = [this.turns, this.connections].map((turns) => turns.statistics().waits.all);
        return waits.reduce((sum, { totalMs }) => sum + totalMs, 0) / MS_PER_SECOND;
      },
    );
  }
}
