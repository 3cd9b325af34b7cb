import { CACHE_MANAGER, type Cache } from '@nestjs/cache-manager';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import { abortableLazily } from '../platform/runtime/abort';
import { RedisConnection } from '../platform/redis/redis-connection';
import { isFreshRead, type ReadPolicy } from './cache-control';
import { CacheEntry } from './cache-entry';
import { keyHead } from './cache-key';
import { CachePolicy } from './cache-policy';
import { type CacheOutcome, CacheStatistics } from './cache-statistics';
import type { CachedRead, ReadDescription, SharedResponse } from './cached-read';
import { type Fill, SingleFlight } from './single-flight';
import { MemoryStore } from './memory-store';
import { FillLock } from './shared-tier';

/** Whether an answer was kept (HIT), had to be read (MISS), or nobody looked for a kept one (BYPASS). */
export type CacheStatus = 'HIT' | 'MISS' | 'BYPASS';

/** An answer and how it came about. */
export interface Loaded {
  entry: CacheEntry;
  status: CacheStatus;
  /** Where it is kept; absent when it is not. */
  key?: string;
}

/** How one caller wants a read answered. */
export interface LoadOptions {
  /** The path asked for, without its query. */
  path: string;
  policy: ReadPolicy;
  /** Milliseconds to keep it, instead of what the settings say; an older answer is not taken either. */
  ttlMs?: number;
  /** Nobody asked yet (a warm-up): not counted as a request. */
  isAhead?: boolean;
  /** Makes the signal that aborts when the caller does not wait any more; asked for only when there is something to wait for. */
  signal?: () => AbortSignal;
}

/** A read, to be made for as long as the signal does not abort, and not before `ready` resolves. */
type Produce = (signal?: AbortSignal, ready?: Promise<unknown>) => Promise<SharedResponse>;

/**
 * Answers that were given before, per tenant and exact. A key carries the epoch of its tenants, which is asked for
 * before every answer: an answer from before the last change is not found. So nothing that Redis does or fails to do
 * can change what is answered, only what it costs.
 */
@Injectable()
export class ResponseCache {
  private readonly logger = new Logger(ResponseCache.name);
  private readonly flights = new Map<string, SingleFlight<Loaded>>();
  private readonly refreshes = new Set<Fill>();
  private readonly heads = new WeakMap<ReadDescription, string>();

  constructor(
    @Inject(CACHE_MANAGER) private readonly tiers: Cache,
    private readonly memory: MemoryStore,
    private readonly redis: RedisConnection,
    private readonly policy: CachePolicy,
    private readonly statistics: CacheStatistics,
  ) {}

  /**
   * The answer to a read: the kept one when it is the present one, else a new one.
   * @throws whatever reading the epoch or the answer throws, failures are not kept; the reason of the caller's signal.
   */
  async getOrLoad<D extends ReadDescription>(
    read: CachedRead<D>,
    description: D,
    options: LoadOptions,
  ): Promise<Loaded> {
    const { namespace } = read;
    const { path, policy, signal: patience } = options;
    const produce: Produce = (signal, ready) => read.read(description, signal, ready);
    if (this.policy.isExcluded(namespace, path)) {
      this.count(namespace, options, 'excluded');
      const startedMs = performance.now();
      const entry = new CacheEntry(await produce(patience?.()), startedMs, 0);
      return { entry, status: 'BYPASS' };
    }
    const head = this.headOf(namespace, description);
    const ttlMs = options.ttlMs ?? this.policy.ttlMs(namespace, path);
    const query = this.queryPart(namespace, description, ttlMs);
    const group = `${head}${query}`;
    const stale = this.acceptablyStale(group, policy);
    if (stale) {
      this.count(namespace, options, 'hit');
      return stale;
    }
    const isFresh = isFreshRead(policy);
    if (isFresh) read.assertCapacity?.(description);
    const askedMs = performance.now();
    const asked = read.currentEpoch(description.tenants);
    // Whatever the epoch, it will be read: it waits for its turn meanwhile, and is read after it.
    const coming = isFresh ? produce(patience?.(), asked) : undefined;
    coming?.catch(() => undefined); // who waits below is told
    const key = `${head}${await (patience ? abortableLazily(asked, patience) : asked)}:${query}`;
    const place: Slot = { key, group, ttlMs, askedMs, accepts: (rest) => read.accepts(rest) };
    if (coming) {
      this.count(namespace, options, 'excluded');
      return this.reload(place, policy, () => coming);
    }
    const kept = this.memory.find(key) as CacheEntry | undefined;
    if (kept) kept.verifiedAtMs = askedMs;
    const found: Loaded = kept
      ? { entry: kept, key, status: 'HIT' }
      : await this.fill(place, produce, patience?.());
    if (found.status === 'HIT' && !isYoungEnough(found.entry, policy)) {
      this.count(namespace, options, 'excluded');
      return this.reload(place, policy, () => produce(patience?.()));
    }
    this.count(namespace, options, found.status === 'HIT' ? 'hit' : 'miss');
    return found;
  }

  /** Lets the process tier know that an entry has grown. */
  resized(key: string): void {
    this.memory.resize(key);
  }

  /** What is being read right now under a key that `test` accepts will be answered, but not kept. */
  discardRunning(test: (key: string) => boolean): void {
    for (const fill of [...this.flights.values(), ...this.refreshes]) {
      if (test(fill.key)) fill.isDiscarded = true;
    }
  }

  private headOf(namespace: string, description: ReadDescription): string {
    const known = this.heads.get(description);
    if (known !== undefined) return known;
    const head = keyHead(this.policy.keyPrefix, namespace, description.tenants);
    this.heads.set(description, head);
    return head;
  }

  private count(
    namespace: string,
    { isAhead }: Pick<LoadOptions, 'isAhead'>,
    outcome: CacheOutcome,
  ): void {
    if (isAhead !== true) this.statistics.record(namespace, outcome);
  }

  /** An answer that was the present one no longer ago than this client puts up with (`max-stale`). */
  private acceptablyStale(group: string, policy: ReadPolicy): Loaded | undefined {
    const { maxStaleSeconds, maxAgeSeconds = Infinity } = policy;
    if (maxStaleSeconds === undefined || isFreshRead(policy)) return undefined;
    const key = this.memory.newestOf(group);
    const entry = key === undefined ? undefined : (this.memory.find(key) as CacheEntry | undefined);
    if (key === undefined || !entry) return undefined;
    const isAcceptable =
      performance.now() - entry.verifiedAtMs <= maxStaleSeconds * 1000 &&
      entry.ageMs() <= (maxAgeSeconds + maxStaleSeconds) * 1000;
    return isAcceptable ? { entry, key, status: 'HIT' } : undefined;
  }

  /** Reads for one caller alone. */
  private async reload(place: Slot, { noStore }: ReadPolicy, produce: Produce): Promise<Loaded> {
    const { key } = place;
    const status = 'BYPASS';
    const fill: Fill = { key, isDiscarded: false };
    this.refreshes.add(fill);
    try {
      const entry = await this.entryFrom(produce, place);
      if (noStore || this.isTooLarge(entry)) {
        this.refreshes.delete(fill);
        return { entry, status };
      }
      // The process tier has it at once; nobody waits for the other one.
      this.keep(fill, entry)
        .catch((error: unknown) => this.reportUnkept(error))
        .finally(() => this.refreshes.delete(fill));
      return { entry, key, status };
    } catch (error) {
      this.refreshes.delete(fill);
      throw error;
    }
  }

  /** Reads an answer once for all who ask for it at the same time. */
  private async fill(
    place: Slot,
    produce: Produce,
    signal: AbortSignal | undefined,
  ): Promise<Loaded> {
    const running = this.flights.get(place.key);
    if (!running || running.isAbandoned) return this.begin(place, produce).join(signal);
    try {
      return await running.join(signal);
    } catch (error) {
      // The one who began it has waited that long for a turn; who joined later has not.
      if (!(error instanceof AppError) || error.code !== 'QUEUE_TIMEOUT') throw error;
      return this.fill(place, produce, signal);
    }
  }

  private begin(place: Slot, produce: Produce): SingleFlight<Loaded> {
    const { key } = place;
    const lock = this.redis.isAvailable ? new FillLock(this.redis, key) : undefined;
    const flight = new SingleFlight(key, (signal) =>
      this.readOrFind(place, () => produce(signal), lock),
    );
    this.flights.set(key, flight);
    this.settle(key, flight, lock).catch((error: unknown) => this.reportUnkept(error));
    return flight;
  }

  private reportUnkept(error: unknown): void {
    this.logger.warn(`An answer could not be kept: ${String(error)}`);
  }

  private async readOrFind(
    place: Slot,
    produce: Produce,
    lock: FillLock | undefined,
  ): Promise<Loaded> {
    const { key } = place;
    if (lock) {
      const found = await lock.findOrAcquire(() => this.lookInTiers(place));
      if (found) return { entry: found, key, status: 'HIT' };
    }
    const entry = await this.entryFrom(produce, place);
    return { entry, status: 'MISS', ...(this.isTooLarge(entry) ? {} : { key }) };
  }

  /** Age and staleness count from before the read: what it saw may have changed while it ran. */
  private async entryFrom(produce: Produce, { ttlMs, group, askedMs }: Slot): Promise<CacheEntry> {
    const startedMs = performance.now();
    const entry = new CacheEntry(await produce(), startedMs, ttlMs, group);
    entry.verifiedAtMs = askedMs;
    return entry;
  }

  private async lookInTiers(place: Slot): Promise<CacheEntry | undefined> {
    const entry = CacheEntry.revive(await this.tiers.get(place.key), place);
    if (!entry || !place.accepts(entry.rest)) return undefined;
    entry.verifiedAtMs = place.askedMs;
    return entry;
  }

  /** Answers that live for a time of their own (at one path, for one caller) are kept apart from the others. */
  private queryPart(namespace: string, { query }: ReadDescription, ttlMs: number): string {
    return ttlMs === this.policy.ttlMs(namespace) ? query : `${query}-${ttlMs}`;
  }

  /** Keeps what a flight brought; until that is done, others join the flight instead of starting one. */
  private async settle(
    key: string,
    flight: SingleFlight<Loaded>,
    lock: FillLock | undefined,
  ): Promise<void> {
    try {
      // Whoever waits for the flight is told of its failure.
      const found = await flight.promise.catch(() => undefined);
      const { entry, status, key: place } = found ?? {};
      if (entry && place !== undefined) {
        await this.keep(flight, entry, status === 'HIT' ? this.tiers.stores[0] : this.tiers);
      }
    } finally {
      if (this.flights.get(key) === flight) this.flights.delete(key);
      await lock?.release();
    }
  }

  /** Keeps an answer in `tier` unless its key is removed before that is done. */
  private async keep(
    fill: Fill,
    entry: CacheEntry,
    tier: Tier | undefined = this.tiers,
  ): Promise<void> {
    if (fill.isDiscarded) return;
    await tier?.set(fill.key, entry, Math.max(1, entry.remainingMs())); // 0 would mean for ever
    if (fill.isDiscarded) await this.tiers.del(fill.key);
  }

  private isTooLarge({ sizeBytes }: CacheEntry): boolean {
    return sizeBytes > this.policy.maxEntryBytes;
  }
}

/** All tiers, or one of them. */
interface Tier {
  set(key: string, entry: CacheEntry, ttlMs: number): Promise<unknown>;
}

/** Where an answer is kept: its key, the key without the epoch, and for how long. */
interface Slot {
  key: string;
  group: string;
  ttlMs: number;
  /** When its epoch was asked for, on the clock of performance.now(). */
  askedMs: number;
  accepts: (rest: unknown) => boolean;
}

function isYoungEnough(entry: CacheEntry, { maxAgeSeconds = Infinity }: ReadPolicy): boolean {
  return entry.ageMs() <= maxAgeSeconds * 1000;
}
