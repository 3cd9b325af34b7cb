import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { IntegerVariable } from './variable.decorators';

/** How much of a list one request may ask for. */
export class PaginationEnv extends EnvVariables {
  /** Entries on a page when the request does not say; never more than PAGINATION_MAX_LIMIT. */
  @IntegerVariable(1, 1000)
  readonly PAGINATION_DEFAULT_LIMIT!: number;

  /** Most entries on a page. */
  @IntegerVariable(1, 1000)
  readonly PAGINATION_MAX_LIMIT!: number;

  /** Largest offset; what lies beyond is reached with a cursor. */
  @IntegerVariable(0, 1_000_000_000)
  readonly PAGINATION_MAX_OFFSET!: number;
}

export interface PaginationConfig {
  defaultLimit: number;
  maxLimit: number;
  maxOffset: number;
}

/** Limits of pages. Throws a ConfigError. */
export const paginationConfig = registerAs(
  'pagination',
  (environment = loadEnvironment()): PaginationConfig => {
    const env = readEnv(PaginationEnv, environment);
    return {
      defaultLimit: Math.min(env.PAGINATION_DEFAULT_LIMIT, env.PAGINATION_MAX_LIMIT),
      maxLimit: env.PAGINATION_MAX_LIMIT,
      maxOffset: env.PAGINATION_MAX_OFFSET,
    };
  },
);
