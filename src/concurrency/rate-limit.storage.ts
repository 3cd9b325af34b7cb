import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { RedisConnection } from '../platform/redis/redis-connection';

/** 80 000 principals with names of 40 characters, 25 000 with the longest. The least recently seen start anew. */
const MAX_LOCAL_BYTES = 16 * 1024 * 1024;
/** Bytes of a window without its key. */
const WINDOW_BYTES = 150;

/** Returns the count and the remaining milliseconds. */
const COUNT = `local hits = redis.call('INCR', KEYS[1])
if hits == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { hits, redis.call('PTTL', KEYS[1]) }`;

interface Window {
  hits: number;
  endsMs: number;
}

export interface Counted {
  totalHits: number;
  /** Whole seconds until the window ends. */
  timeToExpire: number;
  isBlocked: boolean;
}

/**
 * Fixed windows in Redis for all replicas; in this process without Redis and while it is away or silent, so that no
 * request is refused or waits because of it.
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
