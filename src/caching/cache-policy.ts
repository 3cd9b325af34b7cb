import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { cacheConfig } from '../platform/config/settings';
import { API_PREFIX } from '../http/fast-routes';
import { globMatcher } from './cache-key';
import { MAX_ENTRY_FRACTION } from './memory-store';

type Matcher = (text: string) => boolean;

/** Settings of reads: whether they are cached, and for how long. */
@Injectable()
export class CachePolicy {
  private readonly disabled: Matcher[];
  private readonly excluded: Matcher[];
  private readonly overrides: { matches: Matcher; isPath: boolean; ttlMs: number }[];

  constructor(@Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>) {
    this.disabled = config.disablePatterns.map(globMatcher);
    this.excluded = config.excludeEndpoints.map(pathMatcher);
    this.overrides = config.ttlOverrides.map(({ pattern, ttlSeconds }) => {
      const isPath = pattern.startsWith('/');
      const matches = isPath ? pathMatcher(pattern) : globMatcher(pattern);
      return { matches, isPath, ttlMs: ttlSeconds * 1000 };
    });
  }

  get keyPrefix(): string {
    return this.config.keyPrefix;
  }

  get maxEntryBytes(): number {
    return this.config.maxSizeBytes / MAX_ENTRY_FRACTION;
  }

  isExcluded(namespace: string, path: string): boolean {
    if (!this.config.enabled) return true;
    if (this.disabled.length === 0 && this.excluded.length === 0) return false;
    return (
      this.disabled.some((matches) => matches(namespace)) ||
      this.excluded.some((matches) => matches(path))
    );
  }

  /** Time to live by the first override that matches, else the default. */
  ttlMs(namespace: string, path?: string): number {
    return this.overrideMs(namespace, path) ?? this.config.defaultTtlSeconds * 1000;
  }

  /** Time to live by the first override that matches. */
  overrideMs(namespace: string, path?: string): number | undefined {
    for (const { matches, isPath, ttlMs } of this.overrides) {
      const text = isPath ? path : namespace;
      if (text !== undefined && matches(text)) return ttlMs;
    }
    return undefined;
  }
}

/** Matches a path and all below, with or without the prefix of the API, in upper or lower case; `*` is any text. */
function pathMatcher(pattern: string): Matcher {
  const trimmed = pattern.replace(/\/+$/, '').toLowerCase();
  const matchers = [trimmed, `/${API_PREFIX}${trimmed}`].flatMap((path) => [
    globMatcher(path),
    globMatcher(`${path}/*`),
  ]);
  return (path) => {
    const plain = path.toLowerCase(); // routes are matched in any case
    return matchers.some((matches) => matches(plain));
  };
}
