import { defineConfig } from './define-config';
import { url } from './variables';

/** Connection to Redis. */
export const redisConfig = defineConfig('redis', {
  /** Unset: the in-process cache alone. */
  url: url('REDIS_URL', ['redis', 'rediss']),
});
