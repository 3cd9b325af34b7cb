import { Injectable } from '@nestjs/common';
import type { ThrottlerStorage } from '@nestjs/throttler';
import { LRUCache } from 'lru-cache';
import { RedisConnection } from '../redis/redis-connection';

/** Principals that one process counts by itself; more would need to be active within one window. */
const MAX_LOCAL_KEYS = 100_000;

/** Counts one request; the first of a window starts it. Answers the count and the milliseconds the window has left. */
const COUNT = `local hits = redis.call('INCR', KEYS[1])
if hits == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { hits, redis.call('PTTL', KEYS[1]) }`;

interface Window {
  hits: number;
  endsMs: number;
}

/** What throttler's storages answer; times in whole seconds. */
type Counted = Awaited<ReturnType<ThrottlerStorage['increment']>>;

/**
 * Counts requests in fixed windows: in Redis for all replicas together; in this process alone when there is no Redis,
 * and while it is away or silent, so that nobody is refused or kept waiting because of it.
 */
@Injectable()
export class RateLimitStorage implements ThrottlerStorage {
  private readonly windows = new LRUCache<string, Window>({ max: MAX_LOCAL_KEYS });

  constructor(private readonly redis: RedisConnection) {}

  /** Counts one request of `key`; `ttl` is the length of a window in milliseconds. */
  async increment(key: string, ttl: number, limit: number): Promise<Counted> {
    const { hits, leftMs } = (await this.countInRedis(key, ttl)) ?? this.countHere(key, ttl);
    const seconds = Math.max(1, Math.ceil(leftMs / 1000));
    const isBlocked = hits > limit;
    return {
      totalHits: hits,
      timeToExpire: seconds,
      isBlocked,
      timeToBlockExpire: isBlocked ? seconds : 0,
    };
  }

  private async countInRedis(
    key: string,
    ttl: number,
  ): Promise<{ hits: number; leftMs: number } | undefined> {
    if (!this.redis.isAvailable) return undefined;
    const answer = await this.redis.attempt((client) =>
      client.eval(COUNT, { keys: [key], arguments: [String(ttl)] }),
    );
    if (!Array.isArray(answer)) return undefined;
    const [hits, leftMs] = answer as number[];
    return { hits: Number(hits), leftMs: Number(leftMs) };
  }

  private countHere(key: string, ttl: number): { hits: number; leftMs: number } {
    const nowMs = performance.now(); // a clock that is set back must not make a window longer
    let window = this.windows.get(key);
    if (!window || window.endsMs <= nowMs) {
      window = { hits: 0, endsMs: nowMs + ttl };
      this.windows.set(key, window);
    }
    window.hits += 1;
    return { hits: window.hits, leftMs: window.endsMs - nowMs };
  }
}
