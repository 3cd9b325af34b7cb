import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** Request limit of a principal. */
export const rateLimitConfig = defineConfig('rateLimit', {
  isEnabled: boolean('RATE_LIMIT_ENABLED'),
  /** Requests of one principal in each window. */
  requests: integer('RATE_LIMIT_REQUESTS', 1, 1_000_000_000),
  windowSeconds: integer('RATE_LIMIT_WINDOW_SECONDS', 1, 86_400),
});
