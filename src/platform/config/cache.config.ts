import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { boolean, integer, list, matching, mebibytes, text } from './variables';

const MAX_TTL_SECONDS = 86_400;
const OVERRIDE = /^([A-Za-z0-9_*-]+|\/[^\s=]*)=([1-9]\d{0,4})$/;

/** Lifetime for namespaces, or (beginning with `/`) paths; `*` stands for any text. */
interface CacheTtlOverride {
  pattern: string;
  ttlSeconds: number;
}

function overrideOf(item: string): CacheTtlOverride | undefined {
  const [, pattern = '', seconds] = OVERRIDE.exec(item) ?? [];
  const ttlSeconds = Number(seconds);
  return ttlSeconds <= MAX_TTL_SECONDS ? { pattern, ttlSeconds } : undefined;
}

/** Settings of the response cache. */
export const cacheConfig = defineConfig('cache', {
  enabled: boolean('CACHE_ENABLED'),
  defaultTtlSeconds: integer('CACHE_DEFAULT_TTL_SECONDS', 1, MAX_TTL_SECONDS),
  maxSizeBytes: mebibytes('CACHE_MAX_SIZE_MB', 1, 65_536),
  keyPrefix: text(
    'CACHE_KEY_PREFIX',
    /^[A-Za-z0-9_-]{1,64}$/,
    'be 1 to 64 letters, digits, underscores or hyphens',
  ),
  /** Paths never cached, nor those below; `*` stands for any text. */
  excludeEndpoints: list(
    'CACHE_EXCLUDE_ENDPOINTS',
    matching(/^\/[^\s]*$/),
    'be empty or comma-separated paths that start with /',
  ),
  /** Namespaces never cached; `*` stands for any text. */
  disablePatterns: list(
    'CACHE_DISABLE_PATTERNS',
    matching(/^[A-Za-z0-9_*-]+$/),
    'be empty or comma-separated namespaces, in which * stands for any text, such as audit_events*',
  ),
  /** Lifetimes by namespace or path, in the order given. */
  ttlOverrides: list(
    'CACHE_TTL_OVERRIDES',
    overrideOf,
    `be empty or comma-separated pattern=seconds with seconds from 1 to ${MAX_TTL_SECONDS}, such as audit_events*=120 or /audit/events=30`,
  ),
});

export type CacheConfig = ConfigType<typeof cacheConfig>;
