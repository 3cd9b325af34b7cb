import { defineConfig } from './define-config';
import { url } from './variables';

/** Where Redis is. */
export const redisConfig = defineConfig('redis', {
  /** Connection URL; unset means that only the in-process cache is used. */
  url: url('REDIS_URL', ['redis', 'rediss']),
});
