import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createHash, randomUUID } from 'node:crypto';
import { Subject } from 'rxjs';
import { wallClockText } from '../platform/runtime/clocks';
import { cacheConfig } from '../platform/config/settings';
import { RedisConnection } from '../platform/redis/redis-connection';
import { coversOnly, KeyPattern, type Tenants } from './cache-key';
import { MemoryStore } from './memory-store';
import { ResponseCache } from './response-cache';
import { valuesOf } from '../metrics/values-of';

export interface Invalidated {
  pattern: string;
  /** Number of different entries that were removed in all tiers. */
  invalidated: number;
  /** ISO 8601. */
  timestamp: string;
  tenants: Tenants;
}

/** Keys of one step of SCAN: a few milliseconds, after which Redis serves other clients. */
const SCAN_COUNT = 1000;
/** Time for replies of other replicas; later ones are not counted. */
const REPLY_TIMEOUT_MS = 1000;
/** Limit of invalidations that wait for Redis; the oldest is dropped, as entries expire by themselves. */
const MAX_UNFINISHED = 100;

interface Request {
  id: string;
  from: string;
  pattern: string;
  tenants: Tenants;
}

/** Reply of a replica, with short hashes of the removed keys, which suffice to count each key once. */
interface Reply {
  id: string;
  removed: string[];
}

interface Announcement {
  from: string;
  done: Invalidated;
}

/**
 * Removes entries by pattern in all tiers and replicas, to free memory or to measure a cold cache. Correctness does not
 * need it, as stale entries are never found.
 */
@Injectable()
export class CacheInvalidation implements OnApplicationBootstrap {
  private readonly logger = new Logger(CacheInvalidation.name);
  private readonly replica = randomUUID();
  private readonly unfinished: { pattern: KeyPattern; tenants: Tenants }[] = [];
  private readonly onReplyTo = new Map<string, (removed: string[]) => void>();
  private readonly done = new Subject<Invalidated>();
  private readonly requests: string;
  private readonly replies: string;
  private readonly announcements: string;

  constructor(
    private readonly memory: MemoryStore,
    private readonly cache: ResponseCache,
    private readonly redis: RedisConnection,
    @Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>,
  ) {
    this.requests = `${config.keyPrefix}-invalidate`;
    this.replies = `${config.keyPrefix}-invalidated:`;
    this.announcements = `${config.keyPrefix}-done`;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (!this.redis.isConfigured) return;
    this.redis.onAvailable(() => {
      this.finish().catch((error: unknown) =>
        this.logger.error('An invalidation could not be finished', error),
      );
    });
    await this.listen<Request>(this.requests, 'A message to invalidate', (request) =>
      this.onRequest(request),
    );
    await this.listen<Reply>(
      `${this.replies}${this.replica}`,
      'A reply to an invalidation',
      ({ id, removed }) => this.onReplyTo.get(id)?.(removed),
    );
    await this.listen<Announcement>(
      this.announcements,
      'A message about an invalidation',
      ({ from, done }) => {
        if (from !== this.replica) this.done.next(done);
      },
    );
  }

  /** Handles a message; logs an invalid one, as any client of Redis can send it. */
  private async listen<T>(
    channel: string,
    what: string,
    handle: (message: T) => void | Promise<void>,
  ): Promise<void> {
    const handleText = async (text: string) => handle(JSON.parse(text) as T);
    await this.redis.subscribe(channel, (text) => {
      handleText(text).catch((error: unknown) =>
        this.logger.warn(`${what} could not be understood: ${String(error)}`),
      );
    });
  }

  /**
   * Streams the invalidations on all replicas from this call on, until the signal aborts; without Redis only those of this
   * replica. @throws AppError SLOW_CONSUMER.
   */
  follow(signal: AbortSignal): AsyncGenerator<Invalidated> {
    return valuesOf(this.done, signal);
  }

  /**
   * Removes entries whose key matches and whose tenants are all in `tenants`.
   * @returns the number of different entries removed, in all tiers and replicas.
   */
  async invalidate(pattern: KeyPattern, tenants: Tenants): Promise<number> {
    // Redis first: a reader that has just found an entry there stores it in its process as well.
    const removed = new Set(await this.removeFromRedis(pattern, tenants));
    const others = this.removeFromOthers(pattern, tenants);
    for (const key of this.removeLocally(pattern, tenants)) removed.add(key);
    for (const key of await others) removed.add(key);
    const timestamp = wallClockText();
    this.announce({ pattern: pattern.text, invalidated: removed.size, timestamp, tenants });
    return removed.size;
  }

  private removeLocally(pattern: KeyPattern, tenants: Tenants): string[] {
    const test = (key: string) => pattern.test(key) && coversOnly(key, tenants);
    this.cache.discardRunning(test);
    return this.memory.removeWhere(test).map(shortHash);
  }

  private async removeFromRedis(pattern: KeyPattern, tenants: Tenants): Promise<string[]> {
    // Redis matches the pattern; this test adds the limit to tenants.
    const test = (key: string) => pattern.test(key) && coversOnly(key, tenants);
    // Running loads would store entries behind the scan.
    this.cache.discardRunning(test);
    const removed: string[] = [];
    let cursor = '0';
    do {
      const found = await this.redis.attempt((client) =>
        client.scan(cursor, { MATCH: pattern.redisGlob, COUNT: SCAN_COUNT }),
      );
      const keys = found?.keys.filter(test) ?? [];
      const isDone =
        found &&
        (keys.length === 0 ||
          (await this.redis.attempt((client) => client.unlink(keys))) !== undefined);
      if (!isDone) {
        this.finishLater(pattern, tenants);
        break;
      }
      removed.push(...keys.map(shortHash));
      cursor = found.cursor;
    } while (cursor !== '0');
    return removed;
  }

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

  /** Removes entries from other replicas; warns of replicas that do not reply in time. */
  private async removeFromOthers(pattern: KeyPattern, tenants: Tenants): Promise<string[]> {
    if (!this.redis.isAvailable) return [];
    const id = randomUUID();
    const removed: string[] = [];
    let [replied, expected] = [0, Infinity];
    let finish: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (finish = resolve));
    this.onReplyTo.set(id, (keys) => {
      for (const key of keys) removed.push(key);
      replied += 1;
      if (replied >= expected) finish();
    });
    const timer = setTimeout(finish, REPLY_TIMEOUT_MS);
    try {
      const request: Request = { id, from: this.replica, pattern: pattern.text, tenants };
      const receivers = await this.redis.attempt((client) =>
        client.publish(this.requests, JSON.stringify(request)),
      );
      // This replica receives its request as well, unless its subscription is broken.
      expected = Math.max(0, (receivers ?? 0) - (this.redis.isSubscribed ? 1 : 0));
      if (replied < expected) await all;
    } finally {
      clearTimeout(timer);
      this.onReplyTo.delete(id);
    }
    if (replied < expected) {
      this.logger.warn(
        `${expected - replied} replicas did not confirm an invalidation within a second.`,
      );
    }
    return removed;
  }

  private async onRequest({ id, from, pattern, tenants }: Request): Promise<void> {
    if (from === this.replica) return;
    const removed = this.removeLocally(new KeyPattern(pattern, this.config.keyPrefix), tenants);
    const reply: Reply = { id, removed };
    await this.redis.attempt((client) =>
      client.publish(`${this.replies}${from}`, JSON.stringify(reply)),
    );
  }

  /** Notifies subscribers of this process and, without waiting, of other replicas. */
  private announce(done: Invalidated): void {
    this.done.next(done);
    const announcement: Announcement = { from: this.replica, done };
    this.redis
      .attempt((client) => client.publish(this.announcements, JSON.stringify(announcement)))
      .catch((error: unknown) => this.logger.warn('An invalidation was not announced', error));
  }
}

function shortHash(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 16);
}
