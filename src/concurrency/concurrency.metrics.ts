import { Injectable } from '@nestjs/common';
import { ResponseMemory } from '../http/response-memory';
import { MeasurementSources } from '../metrics/measurement-sources';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { ConnectionLimiter } from './connection-limiter';
import { FairScheduler } from './fair-scheduler';
import { LargeBodyLimiter } from './large-body-limiter';
import { ResponsePermits } from './response-permits';
import { SubscriptionLimiter } from './subscription-limiter';

const MS_PER_SECOND = 1000;

/** Metrics of permits, queues and limits. They do not name flows, which are organizations. */
@Injectable()
export class ConcurrencyMetrics {
  constructor(
    registry: MetricRegistry,
    scheduler: FairScheduler,
    connections: ConnectionLimiter,
    large: LargeBodyLimiter,
    responses: ResponsePermits,
    memory: ResponseMemory,
    subscriptions: SubscriptionLimiter,
    sources: MeasurementSources,
  ) {
    sources.register('concurrency', () => {
      const { active, queued, max, queueSize } = scheduler.statistics();
      return {
        activeRequests: active,
        queuedRequests: queued + large.permits.queued,
        maxConcurrentRequests: max,
        queueSize,
      };
    });
    registry.gauge(
      'audit_concurrency_active_requests',
      'Requests that have a permit.',
      () => scheduler.statistics().active,
    );
    registry.gauge(
      'audit_concurrency_queued_requests',
      'Requests that wait for a permit, those with large bodies included.',
      () => scheduler.permits.queued + large.permits.queued,
    );
    registry.gauge(
      'audit_concurrency_active_large_requests',
      'Requests with large bodies that are handled, or wait for their permit to work.',
      () => large.permits.statistics().active,
    );
    registry.gauge(
      'audit_concurrency_waiting_flows',
      'Organizations and readers of several that wait.',
      () => scheduler.statistics().flows,
    );
    registry.gauge(
      'audit_concurrency_max_requests',
      'Requests that may have a permit at once: CONCURRENCY_MAX_REQUESTS.',
      () => scheduler.permits.max,
    );
    registry.gauge(
      'audit_concurrency_active_subscriptions',
      'Live subscriptions: server-sent events, GraphQL over WebSockets, tRPC.',
      () => labelled('kind', subscriptions.activeByKind),
    );
    registry.gauge(
      'audit_response_memory_reserved_bytes',
      'Memory reserved for large responses that are being made or handed over.',
      () => memory.reserved,
    );
    registry.gauge(
      'audit_response_memory_waiting_requests',
      'Requests for large responses that wait for a permit.',
      () => responses.reads.permits.queued + responses.compositions.permits.queued,
    );
    registry.counter(
      'audit_concurrency_permits_total',
      'Permits that were granted, and requests that got none or were ended with one, by reason.',
      () => {
        const [all, bodies] = [scheduler.statistics(), large.permits.statistics()];
        // A request that has one permit and waits for another one in vain is refused by the queue of the latter.
        const { queueTimeouts } = connections.permits.statistics();
        return labelled('outcome', {
          granted: all.granted,
          shed: all.shed + bodies.shed,
          queue_timeout: all.queueTimeouts + bodies.queueTimeouts + queueTimeouts,
          timed_out: all.timedOut + bodies.timedOut,
          cancelled: all.cancelled + bodies.cancelled,
        });
      },
    );
    registry.counter(
      'audit_concurrency_wait_seconds_total',
      'Time that permits were waited for, those for connections and large bodies included.',
      () => {
        const pools = [scheduler, connections, large].map(({ permits }) => permits);
        return (
          pools.reduce((sum, pool) => sum + pool.statistics().waits.all.totalMs, 0) / MS_PER_SECOND
        );
      },
    );
    registry.counter(
      'audit_response_memory_permits_total',
      'Responses for which the shared memory did not suffice, by outcome.',
      () => {
        const { reads, compositions } = responses;
        const [one, other] = [reads.permits.statistics(), compositions.permits.statistics()];
        return labelled('outcome', {
          granted: one.granted + other.granted,
          refused: one.shed + one.queueTimeouts + other.shed + other.queueTimeouts,
          timed_out: one.timedOut + other.timedOut,
          cancelled: one.cancelled + other.cancelled,
        });
      },
    );
  }
}
