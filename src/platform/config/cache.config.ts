import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import {
  BooleanVariable,
  IntegerVariable,
  ListVariable,
  TextVariable,
} from './variable.decorators';

const MAX_TTL_SECONDS = 86_400;
const OVERRIDE = /^([A-Za-z0-9_*-]+|\/[^\s=]*)=([1-9]\d{0,4})$/;
const OVERRIDES_ALLOWED = `be empty or comma-separated pattern=seconds with seconds from 1 to ${MAX_TTL_SECONDS}, such as audit_events*=120 or /audit/events=30`;

/** What the response cache keeps, for how long and in how much memory. */
export class CacheEnv extends EnvVariables {
  /** Whether responses are cached at all. */
  @BooleanVariable()
  readonly CACHE_ENABLED!: boolean;

  /** Seconds an entry lives. */
  @IntegerVariable(1, MAX_TTL_SECONDS)
  readonly CACHE_DEFAULT_TTL_SECONDS!: number;

  /** Size of the in-process cache in MiB. */
  @IntegerVariable(1, 65_536)
  readonly CACHE_MAX_SIZE_MB!: number;

  /** First part of every key. */
  @TextVariable(/^[A-Za-z0-9_-]{1,64}$/, 'be 1 to 64 letters, digits, underscores or hyphens')
  readonly CACHE_KEY_PREFIX!: string;

  /** Paths whose answers, and those of all paths below them, are never cached; `*` stands for any text. */
  @ListVariable(/^\/[^\s]*$/, 'be empty or comma-separated paths that start with /')
  readonly CACHE_EXCLUDE_ENDPOINTS!: string[];

  /** Namespaces that are never cached; `*` stands for any text. */
  @ListVariable(
    /^[A-Za-z0-9_*-]+$/,
    'be empty or comma-separated namespaces, in which * stands for any text, such as audit_events*',
  )
  readonly CACHE_DISABLE_PATTERNS!: string[];

  /** Lifetimes by namespace or path, as `pattern=seconds`. */
  @ListVariable(OVERRIDE, OVERRIDES_ALLOWED)
  readonly CACHE_TTL_OVERRIDES!: string[];

  override findConflicts(): Conflict[] {
    return this.ttlOverrides().some(({ ttlSeconds }) => ttlSeconds > MAX_TTL_SECONDS)
      ? [{ variable: 'CACHE_TTL_OVERRIDES', allowed: OVERRIDES_ALLOWED }]
      : [];
  }

  /** CACHE_TTL_OVERRIDES taken apart, in the order given. */
  ttlOverrides(): CacheTtlOverride[] {
    return this.CACHE_TTL_OVERRIDES.map((item) => {
      const [pattern = '', seconds] = item.split('=');
      return { pattern, ttlSeconds: Number(seconds) };
    });
  }
}

/** A lifetime for the namespaces, or (beginning with `/`) the paths, that match a pattern; `*` stands for any text. */
export interface CacheTtlOverride {
  pattern: string;
  ttlSeconds: number;
}

export interface CacheConfig {
  enabled: boolean;
  defaultTtlSeconds: number;
  maxSizeBytes: number;
  keyPrefix: string;
  /** Paths; what lies below them is meant too. */
  excludeEndpoints: string[];
  /** Namespaces, in which `*` stands for any text. */
  disablePatterns: string[];
  ttlOverrides: CacheTtlOverride[];
}

const BYTES_PER_MB = 1024 * 1024;

/** Settings of the response cache. Throws a ConfigError. */
export const cacheConfig = registerAs('cache', (environment = loadEnvironment()): CacheConfig => {
  const env = readEnv(CacheEnv, environment);
  return {
    enabled: env.CACHE_ENABLED,
    defaultTtlSeconds: env.CACHE_DEFAULT_TTL_SECONDS,
    maxSizeBytes: env.CACHE_MAX_SIZE_MB * BYTES_PER_MB,
    keyPrefix: env.CACHE_KEY_PREFIX,
    excludeEndpoints: env.CACHE_EXCLUDE_ENDPOINTS,
    disablePatterns: env.CACHE_DISABLE_PATTERNS,
    ttlOverrides: env.ttlOverrides(),
  };
});
