import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** How many requests one principal may make. */
export const rateLimitConfig = defineConfig('rateLimit', {
  /** Whether requests are counted at all. */
  isEnabled: boolean('RATE_LIMIT_ENABLED'),
  /** Requests of one principal in each window. */
  requests: integer('RATE_LIMIT_REQUESTS', 1, 1_000_000_000),
  /** Length of a window in seconds. */
  windowSeconds: integer('RATE_LIMIT_WINDOW_SECONDS', 1, 86_400),
});
