import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import { IntegerVariable } from './variable.decorators';

/** How much of a list one request may ask for. */
export class PaginationEnv extends EnvVariables {
  /** Entries on a page when the request does not say. */
  @IntegerVariable(1, 1000)
  readonly PAGINATION_DEFAULT_LIMIT!: number;

  /** Most entries on a page. */
  @IntegerVariable(1, 1000)
  readonly PAGINATION_MAX_LIMIT!: number;

  /** Largest offset; what lies beyond is reached with a cursor. */
  @IntegerVariable(0, 1_000_000_000)
  readonly PAGINATION_MAX_OFFSET!: number;

  override findConflicts(): Conflict[] {
    if (this.PAGINATION_DEFAULT_LIMIT <= this.PAGINATION_MAX_LIMIT) return [];
    const allowed = `be at most PAGINATION_MAX_LIMIT, which is ${this.PAGINATION_MAX_LIMIT}`;
    return [
      { variable: 'PAGINATION_DEFAULT_LIMIT', allowed, comparedWith: 'PAGINATION_MAX_LIMIT' },
    ];
  }
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
      defaultLimit: env.PAGINATION_DEFAULT_LIMIT,
      maxLimit: env.PAGINATION_MAX_LIMIT,
      maxOffset: env.PAGINATION_MAX_OFFSET,
    };
  },
);
