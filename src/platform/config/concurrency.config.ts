import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** How many requests run at once and how many wait. */
export const concurrencyConfig = defineConfig('concurrency', {
  /** Requests that run at once in one process. */
  maxRequests: integer('CONCURRENCY_MAX_REQUESTS', 1, 100_000),
  /** Milliseconds a request waits for its permit. */
  queueTimeoutMs: integer('CONCURRENCY_QUEUE_TIMEOUT_MS', 1, 3_600_000),
  /** Requests that may wait. */
  queueSize: integer('CONCURRENCY_QUEUE_SIZE', 0, 1_000_000),
  /** Whether requests wait at all; otherwise those beyond the limit are refused at once. */
  enableQueue: boolean('CONCURRENCY_ENABLE_QUEUE'),
  /** Subscriptions of one principal at once, over all APIs of a replica. */
  maxSubscriptionsPerPrincipal: integer('SUBSCRIPTIONS_MAX_PER_PRINCIPAL', 1, 1_000_000),
  /** Subscriptions at once. */
  maxSubscriptions: integer('SUBSCRIPTIONS_MAX', 1, 1_000_000),
});
