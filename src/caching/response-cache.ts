import { CACHE_MANAGER, type Cache } from '@nestjs/cache-manager';
import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { cacheConfig } from '../config/cache.config';
import { RedisConnection } from '../redis/redis-connection';
import type { ReadPolicy } from './cache-control';
import { CacheEntry } from './cache-entry';
import { keyHead } from './cache-key';
import { CachePolicy } from './cache-policy';
import { CacheStatistics } from './cache-statistics';
import type { CachedRead, ReadDescription, SharedAnswer } from './cached-read';
import { MemoryStore } from './memory-store';
import { FillLock } from './shared-tier';

/** Whether an answer was kept (HIT), had to be read (MISS), or nobody looked for a kept one (BYPASS). */
export type CacheStatus = 'HIT' | 'MISS' | 'BYPASS';

/** An answer and how it came about. */
export interface Remembered {
  entry: CacheEntry;
  status: CacheStatus;
  /** Where it is kept; absent when it is not. */
  key?: string;
}

/** How one caller wants a read answered. */
export interface RememberOptions<Answer> {
  /** The path asked for, without its query. */
  path: string;
  policy: ReadPolicy;
  /** Milliseconds to keep it, instead of what the settings say; an older answer is not taken either. */
  ttlMs?: number;
  /** Reads the answer. */
  produce: () => Promise<Answer>;
}

/** A read under way, for all who want the same. */
interface Flight {
  promise: Promise<Remembered>;
  /** Whether its key was removed meanwhile: its answer is given, but not kept. */
  isDiscarded: boolean;
}

/** An answer that takes more than this part of the process tier is not kept: it would push out all others. */
const MAX_ENTRY_FRACTION = 8;

/**
 * Answers that were given before, per tenant and exact. A key carries the epoch of its tenants, which is asked for
 * before every answer: an answer from before the last change is not found. So nothing that Redis does or fails to do
 * can change what is answered, only what it costs.
 */
@Injectable()
export class ResponseCache {
  private readonly flights = new Map<string, Flight>();
  private readonly heads = new WeakMap<ReadDescription, string>();

  constructor(
    @Inject(CACHE_MANAGER) private readonly tiers: Cache,
    private readonly memory: MemoryStore,
    private readonly redis: RedisConnection,
    private readonly policy: CachePolicy,
    private readonly statistics: CacheStatistics,
    @Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>,
  ) {}

  /**
   * The answer to a read: the kept one when it is the present one, else a new one.
   * @throws whatever reading the epoch or the answer throws; failures are not kept.
   */
  async remember<D extends ReadDescription, Answer>(
    read: CachedRead<D, Answer>,
    description: D,
    options: RememberOptions<Answer>,
  ): Promise<Remembered> {
    const { namespace } = read;
    const { path, policy } = options;
    const produce = async () => read.share(await options.produce());
    if (this.policy.isExcluded(namespace, path)) {
      this.statistics.record(namespace, 'excluded');
      return { entry: new CacheEntry(await produce(), Date.now(), 0), status: 'BYPASS' };
    }
    const head = this.headOf(namespace, description);
    const group = `${head}${description.query}`;
    const ttlMs = options.ttlMs ?? this.policy.ttlMs(namespace, path);
    const stale = this.acceptablyStale(group, policy);
    if (stale) return this.hit(namespace, stale);

    const askedMs = performance.now();
    const key = `${head}${await read.currentEpoch(description.tenants)}:${description.query}`;
    if (isFreshRead(policy))
      return this.readAnew(namespace, { key, group, ttlMs }, policy, produce);
    const kept = this.memory.find(key) as CacheEntry | undefined;
    if (kept) {
      if (!isYoungEnough(kept, policy, ttlMs)) {
        return this.readAnew(namespace, { key, group, ttlMs }, policy, produce);
      }
      kept.verifiedAtMs = askedMs;
      return this.hit(namespace, { entry: kept, key });
    }
    const filled = await this.fill({ key, group, ttlMs }, produce);
    this.statistics.record(namespace, filled.status === 'HIT' ? 'hit' : 'miss');
    return filled;
  }

  /** Lets the process tier know that an entry has grown. */
  resized(key: string): void {
    this.memory.resize(key);
  }

  /** What is being read right now under a key that `test` accepts will be answered, but not kept. */
  discardRunning(test: (key: string) => boolean): void {
    for (const [key, flight] of this.flights) if (test(key)) flight.isDiscarded = true;
  }

  private headOf(namespace: string, description: ReadDescription): string {
    const known = this.heads.get(description);
    if (known !== undefined) return known;
    const head = keyHead(this.config.keyPrefix, namespace, description.tenants);
    this.heads.set(description, head);
    return head;
  }

  private hit(namespace: string, { entry, key }: Pick<Remembered, 'entry' | 'key'>): Remembered {
    this.statistics.record(namespace, 'hit');
    return { entry, key, status: 'HIT' };
  }

  /** An answer that was the present one no longer ago than this client puts up with (`max-stale`). */
  private acceptablyStale(
    group: string,
    { maxStaleSeconds, noCache }: ReadPolicy,
  ): { entry: CacheEntry; key: string } | undefined {
    if (maxStaleSeconds === undefined || noCache) return undefined;
    const key = this.memory.newestOf(group);
    const entry = key === undefined ? undefined : (this.memory.find(key) as CacheEntry | undefined);
    if (key === undefined || !entry) return undefined;
    const staleMs = performance.now() - entry.verifiedAtMs;
    return staleMs <= maxStaleSeconds * 1000 ? { entry, key } : undefined;
  }

  private async readAnew(
    namespace: string,
    place: Place,
    policy: ReadPolicy,
    produce: () => Promise<SharedAnswer>,
  ): Promise<Remembered> {
    this.statistics.record(namespace, 'excluded');
    const entry = new CacheEntry(await produce(), Date.now(), place.ttlMs, place.group);
    if (policy.noStore) return { entry, status: 'BYPASS' };
    await this.keep(place.key, entry);
    return { entry, key: place.key, status: 'BYPASS' };
  }

  /** Reads an answer once for all who ask for it at the same time. */
  private fill(place: Place, produce: () => Promise<SharedAnswer>): Promise<Remembered> {
    const { key } = place;
    const running = this.flights.get(key);
    if (running) return running.promise;
    const lock = this.redis.isAvailable ? new FillLock(this.redis, key) : undefined;
    const flight: Flight = {
      promise: this.readOrFind(place, produce, lock),
      isDiscarded: false,
    };
    this.flights.set(key, flight);
    void this.settle(key, flight, lock);
    return flight.promise;
  }

  private async readOrFind(
    place: Place,
    produce: () => Promise<SharedAnswer>,
    lock: FillLock | undefined,
  ): Promise<Remembered> {
    const { key, group, ttlMs } = place;
    if (lock) {
      const look = () => this.lookInTiers(key, group);
      const found =
        (await look()) ?? ((await lock.acquire()) ? undefined : await lock.waitFor(look));
      if (found) return { entry: found, key, status: 'HIT' };
    }
    return {
      entry: new CacheEntry(await produce(), Date.now(), ttlMs, group),
      key,
      status: 'MISS',
    };
  }

  private async lookInTiers(key: string, group: string): Promise<CacheEntry | undefined> {
    return CacheEntry.revive(await this.tiers.get(key), group);
  }

  /** Keeps what a flight brought; until that is done, others join the flight instead of starting one. */
  private async settle(key: string, flight: Flight, lock: FillLock | undefined): Promise<void> {
    try {
      const { entry, status } = await flight.promise;
      if (!flight.isDiscarded) {
        if (status === 'MISS') await this.keep(key, entry);
        else await this.tiers.stores[0]?.set(key, entry, entry.remainingMs());
      }
      // Removed while it was being kept.
      if (flight.isDiscarded) await this.tiers.del(key);
    } catch {
      // Whoever waits for the flight is told by its promise.
    } finally {
      this.flights.delete(key);
      await lock?.release();
    }
  }

  private async keep(key: string, entry: CacheEntry): Promise<void> {
    if (entry.sizeBytes > this.config.maxSizeBytes / MAX_ENTRY_FRACTION) return;
    await this.tiers.set(key, entry, entry.remainingMs());
  }
}

/** Where an answer is kept: its key, the key without the epoch, and for how long. */
interface Place {
  key: string;
  group: string;
  ttlMs: number;
}

function isFreshRead({ noCache, noStore }: ReadPolicy): boolean {
  return noCache || noStore;
}

function isYoungEnough(entry: CacheEntry, policy: ReadPolicy, ttlMs: number): boolean {
  const ageMs = Date.now() - entry.createdAtMs;
  return ageMs <= ttlMs && ageMs <= (policy.maxAgeSeconds ?? Infinity) * 1000;
}
