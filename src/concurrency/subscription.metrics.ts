import { Injectable } from '@nestjs/common';
import { MetricRegistry } from '../metrics/metrics.registry';
import { SubscriptionLimiter } from './subscription-limiter';

/** Live subscriptions in the service's own figures. */
@Injectable()
export class SubscriptionMetrics {
  constructor(registry: MetricRegistry, subscriptions: SubscriptionLimiter) {
    registry.register(
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
  }
}
