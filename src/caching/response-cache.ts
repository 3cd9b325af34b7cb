import { type Cache, CACHE_MANAGER } from '@nestjs/cache-manager';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import { RedisConnection } from '../platform/redis/redis-connection';
import { abortableLazily } from '../platform/runtime/abort';
import { during, type SpanSink, spansOf } from '../platform/runtime/time-spans';
import { CacheEntry } from './cache-entry';
import { keyHead, tenantsText } from './cache-key';
import { CachePolicy } from './cache-policy';
import { type CacheOutcome, CacheStatistics } from './cache-statistics';
import type { CachedRead, ReadDescription, SharedResponse } from './cached-read';
import { type Demand, DemandEstimator } from './demand-estimator';
import { MemoryStore } from './memory-store';
import { type Fill, SingleFlight } from './single-flight';

/** Limits that a reader sets, with the meaning of request directives (RFC 9111, section 5.2.1). */
export interface ReadPolicy {
  /** Loads anew, and stores the result. */
  noCache: boolean;
  /** Loads anew, and stores nothing. */
  noStore: boolean;
  maxAgeSeconds?: number;
  /** Accepted time since expiry; Infinity: any. */
  maxStaleSeconds?: number;
}

export const DEFAULT_READ_POLICY: ReadPolicy = Object.freeze({ noCache: false, noStore: false });

export interface Loaded {
  entry: CacheEntry;
  /** Cached (HIT), loaded as there was none (MISS), or loaded without searching (BYPASS). */
  status: 'HIT' | 'MISS' | 'BYPASS';
  /** Absent when it is not cached. */
  key?: string;
}

export interface LoadOptions {
  /** Path of the request, without its query. */
  path: string;
  policy: ReadPolicy;
  /** Replaces the settings' time to live; also the maximum age. */
  ttlMs?: number;
  /** Not counted as a request (warm-up). */
  isAhead?: boolean;
  /** Called only for a load that has to wait. */
  signal?: () => AbortSignal;
  /** Of the request that waits. */
  spans?: SpanSink;
}

/** Loads until the signal aborts, and not before `ready` resolves. */
type Load = (signal?: AbortSignal, ready?: Promise<unknown>) => Promise<SharedResponse>;

interface Slot {
  key: string;
  /** Key without the version. */
  group: string;
  ttlMs: number;
  /** Request time of its version, on the clock of performance.now(). */
  verifiedAtMs: number;
  accepts: (rest: unknown) => boolean;
  /** Absent when places and lifetimes are not learned. */
  demand: Demand | undefined;
  /** True when lifetimes are learned, but the settings or the request say how long this one is. */
  isTtlGiven: boolean;
}

/** Parts of keys that all requests with one description share. */
interface Known {
  /** Key up to the version. */
  head: string;
  demand: Demand | undefined;
}

/** All tiers, or one of them. */
interface Tier {
  set(key: string, entry: CacheEntry, ttlMs: number): Promise<unknown>;
}

/**
 * Response cache, per tenant and exact: keys contain the version of their tenants, requested before every use, so that no
 * response from before the last change is found. Redis and its failures change only the cost.
 */
@Injectable()
export class ResponseCache {
  private readonly logger = new Logger(ResponseCache.name);
  private readonly inFlight = new Map<string, SingleFlight<Loaded>>();
  private readonly reloads = new Set<Fill>();
  private readonly known = new WeakMap<ReadDescription, Known>();

  constructor(
    @Inject(CACHE_MANAGER) private readonly tiers: Cache,
    private readonly memory: MemoryStore,
    private readonly redis: RedisConnection,
    private readonly policy: CachePolicy,
    private readonly statistics: CacheStatistics,
    @Inject(DemandEstimator) private readonly estimator: DemandEstimator | null,
  ) {}

  /**
   * Returns the cached response if it is current, else loads one.
   * @throws what the reads of version and response throw, of which nothing is cached; the reason of the caller's signal.
   */
  async getOrLoad<D extends ReadDescription>(
    read: CachedRead<D>,
    description: D,
    options: LoadOptions,
  ): Promise<Loaded> {
    const { namespace } = read;
    const { path, policy, signal } = options;
    const load: Load = (own, ready) => read.read(description, own, ready);
    if (this.policy.isExcluded(namespace, path)) {
      this.count(namespace, options, 'excluded');
      const startedMs = performance.now();
      const entry = new CacheEntry(await load(signal?.()), startedMs, 0);
      return { entry, status: 'BYPASS' };
    }
    const { head, demand } = this.knownOf(namespace, description);
    const ttlMs = options.ttlMs ?? this.policy.ttlMs(namespace, path);
    const isTtlGiven =
      demand !== undefined &&
      (options.ttlMs !== undefined || this.policy.overrideMs(namespace, path) !== undefined);
    // Responses with a time to live of their own have separate keys: of learned lifetimes each other one is.
    const isUsual = demand ? !isTtlGiven : ttlMs === this.policy.ttlMs(namespace);
    const query = isUsual ? description.query : `${description.query}-${ttlMs}`;
    const group = `${head}${query}`;
    const isFresh = policy.noCache || policy.noStore;
    if (demand && !isFresh) this.estimator?.recordRequest(demand, performance.now());
    const stale = isFresh ? undefined : this.acceptablyStale(group, policy);
    if (stale) {
      this.count(namespace, options, 'hit');
      return stale;
    }
    if (isFresh) read.assertCapacity?.(description);
    const verifiedAtMs = performance.now();
    const version = read.currentVersion(description.tenants);
    // Valid with any version: the permit is waited for meanwhile, and the read follows both.
    const fresh = isFresh ? load(signal?.(), version) : undefined;
    fresh?.catch(() => undefined); // handled in `reload`
    const current = await this.waitFor(version, options);
    const key = `${head}${current}:${query}`;
    if (demand) this.estimator?.recordVersion(demand, current, verifiedAtMs);
    const accepts = (rest: unknown) => read.accepts(rest);
    const slot: Slot = { key, group, ttlMs, verifiedAtMs, accepts, demand, isTtlGiven };
    if (fresh) {
      this.count(namespace, options, 'excluded');
      return this.reload(slot, policy, () => fresh);
    }
    const kept = this.memory.find(key) as CacheEntry | undefined;
    if (kept) kept.verifiedAtMs = verifiedAtMs;
    const found: Loaded = kept
      ? { entry: kept, key, status: 'HIT' }
      : await this.fill(slot, load, signal?.());
    const { maxAgeSeconds = Infinity } = policy;
    if (found.status === 'HIT' && found.entry.ageMs() > maxAgeSeconds * 1000) {
      this.count(namespace, options, 'excluded');
      return this.reload(slot, policy, () => load(signal?.()));
    }
    this.count(namespace, options, found.status === 'HIT' ? 'hit' : 'miss');
    return found;
  }

  resized(key: string): void {
    this.memory.resize(key);
  }

  /** Removed keys' running loads finish for their callers, but are not cached. */
  discardRunning(test: (key: string) => boolean): void {
    for (const fill of [...this.inFlight.values(), ...this.reloads]) {
      if (test(fill.key)) fill.isDiscarded = true;
    }
  }

  /** Waits for a version: a statement that concurrent requests share. */
  private async waitFor(version: Promise<string>, { signal, spans }: LoadOptions): Promise<string> {
    spans?.begin('sql');
    try {
      return await (signal ? abortableLazily(version, signal) : version);
    } finally {
      spans?.end('sql');
    }
  }

  private knownOf(namespace: string, description: ReadDescription): Known {
    const found = this.known.get(description);
    if (found !== undefined) return found;
    const { tenants, query } = description;
    const head = keyHead(this.policy.keyPrefix, namespace, tenants);
    const demand = this.estimator?.demandOf(`${head}${query}`, tenantsText(tenants));
    const known = { head, demand };
    this.known.set(description, known);
    return known;
  }

  private count(namespace: string, { isAhead }: LoadOptions, outcome: CacheOutcome): void {
    if (isAhead !== true) this.statistics.record(namespace, outcome);
  }

  /** Current no longer ago than this client accepts (`max-stale`). */
  private acceptablyStale(group: string, policy: ReadPolicy): Loaded | undefined {
    const { maxStaleSeconds, maxAgeSeconds = Infinity } = policy;
    const key = maxStaleSeconds === undefined ? undefined : this.memory.newestOf(group);
    if (maxStaleSeconds === undefined || key === undefined) return undefined;
    const entry = this.memory.find(key) as CacheEntry | undefined;
    if (!entry) return undefined;
    const isAcceptable =
      performance.now() - entry.verifiedAtMs <= maxStaleSeconds * 1000 &&
      entry.ageMs() <= (maxAgeSeconds + maxStaleSeconds) * 1000;
    return isAcceptable ? { entry, key, status: 'HIT' } : undefined;
  }

  private async reload(slot: Slot, { noStore }: ReadPolicy, load: Load): Promise<Loaded> {
    const { key } = slot;
    const status = 'BYPASS';
    const fill: Fill = { key, isDiscarded: false };
    this.reloads.add(fill);
    try {
      const entry = await this.entryFrom(load, slot);
      if (noStore || this.isTooLarge(entry)) {
        this.reloads.delete(fill);
        return { entry, status };
      }
      // Synchronous in the process tier; the shared one is not waited for.
      this.keep(fill, entry, this.tierFor(entry))
        .catch((error: unknown) => this.reportUnkept(error))
        .finally(() => this.reloads.delete(fill));
      return { entry, key, status };
    } catch (error) {
      this.reloads.delete(fill);
      throw error;
    }
  }

  private async fill(slot: Slot, load: Load, signal: AbortSignal | undefined): Promise<Loaded> {
    const running = this.inFlight.get(slot.key);
    if (!running || running.isAbandoned) return this.begin(slot, load).join(signal);
    try {
      return await running.join(signal);
    } catch (error) {
      // The first caller has waited that long for a permit; those that joined later have not.
      if (!(error instanceof AppError) || error.code !== 'QUEUE_TIMEOUT') throw error;
      return this.fill(slot, load, signal);
    }
  }

  private begin(slot: Slot, load: Load): SingleFlight<Loaded> {
    const flight = new SingleFlight(slot.key, (signal) =>
      this.findOrRead(slot, () => load(signal), spansOf(signal)),
    );
    this.inFlight.set(slot.key, flight);
    this.keepResult(flight).catch((error: unknown) => this.reportUnkept(error));
    return flight;
  }

  private reportUnkept(error: unknown): void {
    this.logger.warn(`A response could not be kept: ${String(error)}`);
  }

  /**
   * Replicas that miss a key at once load it once each: a lock between them cost more than it saved
   * (docs/adr/0034-redis-fill-lock-and-invalidation-counts.md).
   */
  private async findOrRead(slot: Slot, load: Load, spans?: SpanSink): Promise<Loaded> {
    const { key } = slot;
    const found = this.redis.isAvailable
      ? await during(spans, 'redis', () => this.findInTiers(slot))
      : undefined;
    if (found) return { entry: found, key, status: 'HIT' };
    const entry = await this.entryFrom(load, slot);
    return { entry, status: 'MISS', ...(this.isTooLarge(entry) ? {} : { key }) };
  }

  private async findInTiers(slot: Slot): Promise<CacheEntry | undefined> {
    const { key, group, demand, isTtlGiven } = slot;
    const ttlMs = this.lifetimeMs(slot);
    const maxTtlMs = isTtlGiven ? ttlMs : this.estimator?.maxLifetimeMs;
    const entry = CacheEntry.revive(await this.tiers.get(key), { group, ttlMs, maxTtlMs });
    if (!entry || !slot.accepts(entry.rest)) return undefined;
    entry.verifiedAtMs = slot.verifiedAtMs;
    entry.demand = demand;
    return entry;
  }

  private lifetimeMs({ ttlMs, demand, isTtlGiven }: Slot): number {
    if (!demand || !this.estimator || isTtlGiven) return ttlMs;
    return this.estimator.lifetimeMs(demand);
  }

  /** Age and staleness count from before the read: its data may have changed while it ran. */
  private async entryFrom(load: Load, slot: Slot): Promise<CacheEntry> {
    const startedMs = performance.now();
    const shared = await load();
    const ttlMs = this.lifetimeMs(slot);
    if (slot.demand && !slot.isTtlGiven) this.statistics.recordLifetime(ttlMs);
    const entry = new CacheEntry(shared, startedMs, ttlMs, slot.group);
    entry.verifiedAtMs = slot.verifiedAtMs;
    entry.demand = slot.demand;
    return entry;
  }

  /** Callers join the load until its result is stored. */
  private async keepResult(flight: SingleFlight<Loaded>): Promise<void> {
    try {
      const loaded = await flight.promise.catch(() => undefined); // its callers handle a failure
      if (loaded?.key !== undefined) {
        const { entry, status } = loaded;
        await this.keep(
          flight,
          entry,
          status === 'HIT' ? this.tiers.stores[0] : this.tierFor(entry),
        );
      }
    } finally {
      if (this.inFlight.get(flight.key) === flight) this.inFlight.delete(flight.key);
    }
  }

  /** All tiers; the process tier alone for what is outdated before it would be found in the shared one. */
  private tierFor({ demand }: CacheEntry): Tier | undefined {
    const isShared = !demand || this.estimator?.isWorthSharing(demand, performance.now()) !== false;
    if (isShared) return this.tiers;
    this.statistics.recordUnshared();
    return this.tiers.stores[0];
  }

  /** Stores the entry; not, or not for long, when its key is removed meanwhile, as it may be older than the removal. */
  private async keep(fill: Fill, entry: CacheEntry, tier: Tier | undefined): Promise<void> {
    if (fill.isDiscarded) return;
    await tier?.set(fill.key, entry, Math.max(1, entry.remainingMs())); // 0 would mean for ever
    if (fill.isDiscarded) await this.tiers.del(fill.key);
  }

  private isTooLarge({ sizeBytes }: CacheEntry): boolean {
    return sizeBytes > this.policy.maxEntryBytes;
  }
}
