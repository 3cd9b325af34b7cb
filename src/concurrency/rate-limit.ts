import {
  type CanActivate,
  type ExecutionContext,
  Inject,
  Injectable,
  type OnModuleInit,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { LRUCache } from 'lru-cache';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { cacheConfig, rateLimitConfig } from '../platform/config/settings';
import { principalKey } from '../auth/principal';
import type { FlowOwner } from './fair-scheduler';
import { FastRoutes } from '../http/fast-routes';
import { spansOfResponse } from '../http/request-times';
import { during } from '../platform/runtime/time-spans';
import { AppError } from '../platform/errors/app-error';
import { RedisConnection } from '../platform/redis/redis-connection';

/** Memory for 80 000 principals with names of 40 characters, or 25 000 with the longest; the least recent are dropped. */
const MAX_LOCAL_BYTES = 16 * 1024 * 1024;
/** Bytes of a window without its key. */
const WINDOW_BYTES = 150;

/** Script that counts a request, and returns the count and the remaining milliseconds. */
const COUNT = `local hits = redis.call('INCR', KEYS[1])
if hits == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { hits, redis.call('PTTL', KEYS[1]) }`;

interface Window {
  hits: number;
  endsMs: number;
}

interface Counted {
  totalHits: number;
  /** Whole seconds until the window ends. */
  timeToExpire: number;
  isBlocked: boolean;
}

/**
 * Fixed windows, counted in Redis for all replicas; without Redis, or while it does not answer, in this process, so that
 * no request waits or is refused because of it.
 */
@Injectable()
export class RateLimitStorage {
  private readonly windows = new LRUCache<string, Window>({
    maxSize: MAX_LOCAL_BYTES,
    sizeCalculation: (_, key) => WINDOW_BYTES + 2 * key.length,
  });

  constructor(private readonly redis: RedisConnection) {}

  get sizeBytes(): number {
    return this.windows.calculatedSize;
  }

  /** Counts one request of `key` in windows of `ttl` milliseconds. */
  async increment(key: string, ttl: number, limit: number): Promise<Counted> {
    const { hits, leftMs } = (await this.countInRedis(key, ttl)) ?? this.countLocally(key, ttl);
    const timeToExpire = Math.max(1, Math.ceil(leftMs / 1000));
    return { totalHits: hits, timeToExpire, isBlocked: hits > limit };
  }

  private async countInRedis(
    key: string,
    ttl: number,
  ): Promise<{ hits: number; leftMs: number } | undefined> {
    if (!this.redis.isAvailable) return undefined;
    const reply = await this.redis.attempt((client) =>
      client.eval(COUNT, { keys: [key], arguments: [String(ttl)] }),
    );
    if (!Array.isArray(reply)) return undefined;
    const [hits, leftMs] = reply as number[];
    return { hits: Number(hits), leftMs: Number(leftMs) };
  }

  private countLocally(key: string, ttl: number): { hits: number; leftMs: number } {
    const nowMs = performance.now(); // a wall clock that is set back would prolong the window
    let window = this.windows.get(key);
    if (!window || window.endsMs <= nowMs) {
      window = { hits: 0, endsMs: nowMs + ttl };
      this.windows.set(key, window);
    }
    window.hits += 1;
    return { hits: window.hits, leftMs: window.endsMs - nowMs };
  }
}

/** Key of the mark of a counted request, which is not counted again when a fast route falls through. */
const COUNTED = Symbol('counted');
type Countable = IncomingMessage & { principal?: FlowOwner; [COUNTED]?: boolean };

/**
 * Limits each principal to RATE_LIMIT_REQUESTS in a window, on every route with a token. The headers of responses are
 * those of draft-ietf-httpapi-ratelimit-headers-10.
 */
@Injectable()
export class RateLimit implements OnModuleInit {
  constructor(
    private readonly storage: RateLimitStorage,
    private readonly routes: FastRoutes,
    @Inject(rateLimitConfig.KEY) private readonly config: ConfigType<typeof rateLimitConfig>,
    @Inject(cacheConfig.KEY) private readonly cache: ConfigType<typeof cacheConfig>,
  ) {}

  onModuleInit(): void {
    if (this.config.isEnabled) {
      this.routes.guardWith((request, response) => this.count(request, response));
    }
  }

  /** Counts a request, and sets headers of its response. @throws AppError RATE_LIMITED once the window is used up. */
  async count(request: Countable, response: ServerResponse): Promise<void> {
    const { principal } = request;
    if (!this.config.isEnabled || !principal || request[COUNTED]) return;
    request[COUNTED] = true;
    const { requests, windowSeconds } = this.config;
    const counted = await during(spansOfResponse(response), 'redis', () => this.hit(principal));
    const remaining = Math.max(0, requests - counted.totalHits);
    response.setHeader('RateLimit-Policy', `"default";q=${requests};w=${windowSeconds}`);
    response.setHeader('RateLimit', `"default";r=${remaining};t=${counted.timeToExpire}`);
    this.refuseBlocked(counted);
  }

  /** Counts an operation on a socket. @throws AppError RATE_LIMITED */
  async admit(principal: FlowOwner): Promise<void> {
    if (this.config.isEnabled) this.refuseBlocked(await this.hit(principal));
  }

  private hit(principal: FlowOwner): Promise<Counted> {
    const { requests, windowSeconds } = this.config;
    // The prefix distinguishes services that share a Redis, `-` these keys from those of the cache.
    const key = `${this.cache.keyPrefix}-rate-limit:${principalKey(principal)}`;
    return this.storage.increment(key, windowSeconds * 1000, requests);
  }

  private refuseBlocked(counted: Counted): void {
    if (!counted.isBlocked) return;
    const { requests, windowSeconds } = this.config;
    throw new AppError(
      'RATE_LIMITED',
      `No more than ${requests} requests in ${windowSeconds} seconds: try again in ${counted.timeToExpire} s.`,
      { retryAfterSeconds: counted.timeToExpire },
    );
  }
}

/** Applies the limit on the ordinary path, after the guard that finds the principal; FastRoutes do so on the fast path. */
@Injectable()
export class RateLimitGuard implements CanActivate {
  constructor(private readonly limit: RateLimit) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const http = context.switchToHttp();
    await this.limit.count(http.getRequest(), http.getResponse());
    return true;
  }
}
