import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createHash, randomUUID } from 'node:crypto';
import { wallClockText } from '../platform/runtime/clocks';
import { cacheConfig } from '../platform/config/cache.config';
import { RedisConnection } from '../platform/redis/redis-connection';
import { coversOnly, KeyPattern, type Tenants } from './cache-key';
import { InvalidationFeed } from './invalidation-feed';
import { MemoryStore } from './memory-store';
import { ResponseCache } from './response-cache';

/** Keys looked at in one step of a scan: a few milliseconds of Redis, between which it serves others. */
const SCAN_COUNT = 1000;
/** How long the other replicas have to say what they removed. */
const REPLY_TIMEOUT_MS = 1000;
/** Invalidations that wait for Redis to come back; of more, the oldest are forgotten: entries run out by themselves. */
const MAX_UNFINISHED = 100;

/** What one replica asks the others to remove, and where they tell what they did. */
interface Request {
  id: string;
  from: string;
  pattern: string;
  tenants: Tenants;
}

/** What a replica removed: short hashes of the keys, as all that is to be known is which of them are the same. */
interface Reply {
  removed: string[];
}

/**
 * Removes entries by pattern: in this process, in Redis, and in every other replica that shares the Redis. Nobody
 * has to do it for the sake of correctness (an old entry is never found); it is for operators who want the
 * memory back, or cold measurements.
 */
@Injectable()
export class CacheInvalidation implements OnApplicationBootstrap {
  private readonly logger = new Logger(CacheInvalidation.name);
  private readonly replica = randomUUID();
  private readonly unfinished: { pattern: KeyPattern; tenants: Tenants }[] = [];
  private readonly waiting = new Map<string, (reply: Reply) => void>();
  private readonly requests: string;
  private readonly replies: string;

  constructor(
    private readonly memory: MemoryStore,
    private readonly cache: ResponseCache,
    private readonly redis: RedisConnection,
    private readonly feed: InvalidationFeed,
    @Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>,
  ) {
    this.requests = `${config.keyPrefix}-invalidate`;
    this.replies = `${config.keyPrefix}-invalidated:`;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (!this.redis.isConfigured) return;
    this.redis.onAvailable(() => {
      this.finish().catch((error: unknown) =>
        this.logger.error('An invalidation could not be finished', error),
      );
    });
    await this.redis.subscribe(this.requests, (message) => {
      this.onRequest(message).catch((error: unknown) =>
        // Anybody who can reach Redis can send messages.
        this.logger.warn(`A message to invalidate could not be understood: ${String(error)}`),
      );
    });
    await this.redis.subscribe(`${this.replies}${this.replica}`, (message) =>
      this.onReply(message),
    );
  }

  /**
   * Removes all entries whose key matches and whose tenants are all among `tenants`.
   * @returns how many different entries were removed, wherever they were kept.
   */
  async invalidate(pattern: KeyPattern, tenants: Tenants): Promise<number> {
    // Redis first: a reader who found an entry there a moment ago has kept it in his process, or is about to.
    const removed = new Set(await this.removeFromRedis(pattern, tenants));
    const others = this.askOthers(pattern, tenants);
    for (const key of this.removeHere(pattern, tenants)) removed.add(key);
    for (const key of await others) removed.add(key);
    const timestamp = wallClockText();
    this.feed.announce({ pattern: pattern.text, invalidated: removed.size, timestamp, tenants });
    return removed.size;
  }

  private removeHere(pattern: KeyPattern, tenants: Tenants): string[] {
    const test = (key: string) => pattern.test(key) && coversOnly(key, tenants);
    this.cache.discardRunning(test);
    return this.memory.removeWhere(test).map(shortHash);
  }

  private async removeFromRedis(pattern: KeyPattern, tenants: Tenants): Promise<string[]> {
    // What is being read right now would come into Redis behind the scan.
    this.cache.discardRunning((key) => pattern.test(key) && coversOnly(key, tenants));
    const removed: string[] = [];
    let cursor = 0;
    do {
      const found = await this.redis.attempt((client) =>
        client.scan(cursor, { MATCH: pattern.redisGlob, COUNT: SCAN_COUNT }),
      );
      if (!found) {
        this.finishLater(pattern, tenants);
        break;
      }
      // Redis and this process understand the pattern alike; checking again costs nothing and keeps tenants apart.
      const keys = found.keys.filter((key) => pattern.test(key) && coversOnly(key, tenants));
      if (keys.length > 0) {
        const count = await this.redis.attempt((client) => client.unlink(keys));
        if (count === undefined) {
          this.finishLater(pattern, tenants);
          break;
        }
        removed.push(...keys.map(shortHash));
      }
      cursor = found.cursor;
    } while (cursor !== 0);
    return removed;
  }

  /** Redis did not answer: what it still holds is removed as soon as it does. */
  private finishLater(pattern: KeyPattern, tenants: Tenants): void {
    if (!this.redis.isConfigured) return;
    if (this.unfinished.length >= MAX_UNFINISHED) this.unfinished.shift();
    this.unfinished.push({ pattern, tenants });
    this.logger.warn('Redis does not answer: its part of an invalidation is done once it is back.');
  }

  private async finish(): Promise<void> {
    for (const { pattern, tenants } of this.unfinished.splice(0)) {
      await this.invalidate(pattern, tenants);
    }
  }

  /** What the other replicas removed; those that do not answer in time are left out, with a warning. */
  private async askOthers(pattern: KeyPattern, tenants: Tenants): Promise<string[]> {
    if (!this.redis.isAvailable) return [];
    const id = randomUUID();
    const removed: string[] = [];
    let answered = 0;
    let expected = Infinity;
    let finish: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (finish = resolve));
    this.waiting.set(id, (reply) => {
      for (const key of reply.removed) removed.push(key);
      answered += 1;
      if (answered >= expected) finish();
    });
    const timer = setTimeout(finish, REPLY_TIMEOUT_MS);
    try {
      const request: Request = { id, from: this.replica, pattern: pattern.text, tenants };
      const receivers = await this.redis.attempt((client) =>
        client.publish(this.requests, JSON.stringify(request)),
      );
      // This replica hears itself, unless its subscription is broken just now.
      expected = Math.max(0, (receivers ?? 0) - (this.redis.isSubscribed ? 1 : 0));
      if (answered < expected) await all;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
    if (answered < expected) {
      this.logger.warn(
        `${expected - answered} replicas did not confirm an invalidation within a second.`,
      );
    }
    return removed;
  }

  private async onRequest(message: string): Promise<void> {
    const { id, from, pattern, tenants } = JSON.parse(message) as Request;
    if (from === this.replica) return;
    const removed = this.removeHere(new KeyPattern(pattern, this.config.keyPrefix), tenants);
    await this.redis.attempt((client) =>
      client.publish(`${this.replies}${from}`, JSON.stringify({ id, removed })),
    );
  }

  private onReply(message: string): void {
    try {
      const reply = JSON.parse(message) as Reply & { id: string };
      this.waiting.get(reply.id)?.(reply);
    } catch (error) {
      this.logger.warn(`An answer to an invalidation could not be understood: ${String(error)}`);
    }
  }
}

function shortHash(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 16);
}
