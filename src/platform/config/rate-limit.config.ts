import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { BooleanVariable, IntegerVariable } from './variable.decorators';

/** How many requests one principal may make. */
export class RateLimitEnv extends EnvVariables {
  /** Whether requests are counted at all. */
  @BooleanVariable()
  readonly RATE_LIMIT_ENABLED!: boolean;

  /** Requests of one principal in each window. */
  @IntegerVariable(1, 1_000_000_000)
  readonly RATE_LIMIT_REQUESTS!: number;

  /** Length of a window in seconds. */
  @IntegerVariable(1, 86_400)
  readonly RATE_LIMIT_WINDOW_SECONDS!: number;
}

export interface RateLimitConfig {
  isEnabled: boolean;
  requests: number;
  windowSeconds: number;
}

/** The rate limit of each principal. Throws a ConfigError. */
export const rateLimitConfig = registerAs(
  'rateLimit',
  (environment = loadEnvironment()): RateLimitConfig => {
    const env = readEnv(RateLimitEnv, environment);
    return {
      isEnabled: env.RATE_LIMIT_ENABLED,
      requests: env.RATE_LIMIT_REQUESTS,
      windowSeconds: env.RATE_LIMIT_WINDOW_SECONDS,
    };
  },
);
