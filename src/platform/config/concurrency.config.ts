import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** Limits of running and waiting requests. */
export const concurrencyConfig = defineConfig('concurrency', {
  /** Concurrent requests of one process. */
  maxRequests: integer('CONCURRENCY_MAX_REQUESTS', 1, 100_000),
  /** Milliseconds a request waits for its permit. */
  queueTimeoutMs: integer('CONCURRENCY_QUEUE_TIMEOUT_MS', 1, 3_600_000),
  /** Requests that may wait. */
  queueSize: integer('CONCURRENCY_QUEUE_SIZE', 0, 1_000_000),
  /** False refuses requests beyond the limit at once. */
  enableQueue: boolean('CONCURRENCY_ENABLE_QUEUE'),
  /** Concurrent subscriptions of a principal, over all APIs of a replica. */
  maxSubscriptionsPerPrincipal: integer('SUBSCRIPTIONS_MAX_PER_PRINCIPAL', 1, 1_000_000),
  maxSubscriptions: integer('SUBSCRIPTIONS_MAX', 1, 1_000_000),
});
