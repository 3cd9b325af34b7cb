import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { BooleanVariable, IntegerVariable } from './variable.decorators';

/** How many requests run at once and how many wait. */
export class ConcurrencyEnv extends EnvVariables {
  /** Requests that run at once in one process. */
  @IntegerVariable(1, 100_000)
  readonly CONCURRENCY_MAX_REQUESTS!: number;

  /** Milliseconds a request waits for its turn. */
  @IntegerVariable(1, 3_600_000)
  readonly CONCURRENCY_QUEUE_TIMEOUT_MS!: number;

  /** Requests that may wait. */
  @IntegerVariable(0, 1_000_000)
  readonly CONCURRENCY_QUEUE_SIZE!: number;

  /** Whether requests wait at all; otherwise those beyond the limit are refused at once. */
  @BooleanVariable()
  readonly CONCURRENCY_ENABLE_QUEUE!: boolean;

  /** Subscriptions of one principal at once, over all doors of a replica. */
  @IntegerVariable(1, 1_000_000)
  readonly SUBSCRIPTIONS_MAX_PER_PRINCIPAL!: number;

  /** Subscriptions at once. */
  @IntegerVariable(1, 1_000_000)
  readonly SUBSCRIPTIONS_MAX!: number;
}

export interface ConcurrencyConfig {
  maxRequests: number;
  queueTimeoutMs: number;
  queueSize: number;
  enableQueue: boolean;
  maxSubscriptionsPerPrincipal: number;
  maxSubscriptions: number;
}

/** Limits of concurrent requests. Throws a ConfigError. */
export const concurrencyConfig = registerAs(
  'concurrency',
  (environment = loadEnvironment()): ConcurrencyConfig => {
    const env = readEnv(ConcurrencyEnv, environment);
    return {
      maxRequests: env.CONCURRENCY_MAX_REQUESTS,
      queueTimeoutMs: env.CONCURRENCY_QUEUE_TIMEOUT_MS,
      queueSize: env.CONCURRENCY_QUEUE_SIZE,
      enableQueue: env.CONCURRENCY_ENABLE_QUEUE,
      maxSubscriptionsPerPrincipal: env.SUBSCRIPTIONS_MAX_PER_PRINCIPAL,
      maxSubscriptions: env.SUBSCRIPTIONS_MAX,
    };
  },
);
