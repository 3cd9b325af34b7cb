import { type Cache, CACHE_MANAGER } from '@nestjs/cache-manager';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import { RedisConnection } from '../platform/redis/redis-connection';
import { abortableLazily } from '../platform/runtime/abort';
import { during, type SpanSink, spansOf } from '../platform/runtime/time-spans';
import { CacheEntry } from './cache-entry';
import { keyHead, type Tenants, tenantsText } from './cache-key';
import { CachePolicy } from './cache-policy';
import { type CacheOutcome, CacheStatistics } from './cache-statistics';
import type { CachedRead, ReadDescription, SharedResponse } from './cached-read';
import { type Demand, DemandEstimator } from './demand-estimator';
import { MemoryStore } from './memory-store';
import { type Fill, SingleFlight } from './single-flight';

/** Limits of one request, with the meaning of its cache directives (RFC 9111, section 5.2.1). */
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
  /** HIT: found in a tier; MISS: found in none, and loaded; BYPASS: loaded without a search. */
  status: 'HIT' | 'MISS' | 'BYPASS';
  /** Key of the entry; absent when the entry is not cached. */
  key?: string;
}

export interface LoadOptions {
  /** Path of the request, without its query. */
  path: string;
  policy: ReadPolicy;
  /** Time to live in place of the settings' one. */
  ttlMs?: number;
  /** True for warm-up, which is not counted as a request. */
  isAhead?: boolean;
  /** Makes the request's signal; called only for a load that has to wait. */
  signal?: () => AbortSignal;
  /** Spans of the request. */
  spans?: SpanSink;
}

/** Loads until the signal aborts, and not before `ready` resolves. */
type Load = (signal?: AbortSignal, ready?: Promise<unknown>) => Promise<SharedResponse>;

/** Response that a request asks for, in whatever version. */
interface Target {
  read: Pick<CachedRead, 'namespace' | 'currentVersion' | 'accepts'>;
  tenants: Tenants;
  /** Key up to the version. */
  head: string;
  /** Key behind the version. */
  query: string;
  /** Key without the version. */
  group: string;
  ttlMs: number;
  /** Absent when places and lifetimes are not learned. */
  demand: Demand | undefined;
  /** True when lifetimes are learned, but the settings or the request set this one. */
  isTtlSet: boolean;
}

/** Place of a response in the cache. */
interface Slot {
  target: Target;
  key: string;
  /** Time at which the version was requested, on the clock of performance.now(). */
  verifiedAtMs: number;
}

/** Values that all requests with one description share. */
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
 * Cache of responses, exact for each tenant: a key contains the version of its tenants, which is read before every use, so
 * that no response from before the last change is found. Redis and its failures change only the cost.
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
    const { policy, signal } = options;
    const load: Load = (aborted, ready) => read.read(description, aborted, ready);
    if (this.policy.isExcluded(namespace, options.path))
      return this.bypass(namespace, load, options);
    const target = this.targetOf(read, description, options);
    if (policy.noCache || policy.noStore) {
      read.assertCapacity?.(description);
      return this.loadAnew(target, load, options);
    }
    if (target.demand) this.estimator?.recordRequest(target.demand, performance.now());
    const stale = this.acceptablyStale(target.group, policy);
    if (stale) {
      this.count(namespace, options, 'hit');
      return stale;
    }

    const verifiedAtMs = performance.now();
    const version = await this.waitFor(read.currentVersion(description.tenants), options);
    const slot = this.slotOf(target, version, verifiedAtMs);
    const cached = this.memory.find(slot.key) as CacheEntry | undefined;
    if (cached) cached.verifiedAtMs = verifiedAtMs;
    const found: Loaded = cached
      ? { entry: cached, key: slot.key, status: 'HIT' }
      : await this.fill(slot, load, signal?.());

    const isHit = found.status === 'HIT';
    if (isHit && found.entry.ageMs() > (policy.maxAgeSeconds ?? Infinity) * 1000) {
      this.count(namespace, options, 'excluded');
      return this.reload(slot, policy, () => load(signal?.()));
    }
    this.count(namespace, options, isHit ? 'hit' : 'miss');
    return found;
  }

  /** Loads a response that the settings exclude from the cache. */
  private async bypass(namespace: string, load: Load, options: LoadOptions): Promise<Loaded> {
    this.count(namespace, options, 'excluded');
    const startedMs = performance.now();
    const shared = await load(options.signal?.());
    return { entry: new CacheEntry(shared, startedMs, 0), status: 'BYPASS' };
  }

  /** Loads for a request with no-cache or no-store. The permit of the read is waited for beside the version. */
  private async loadAnew(target: Target, load: Load, options: LoadOptions): Promise<Loaded> {
    const verifiedAtMs = performance.now();
    const version = target.read.currentVersion(target.tenants);
    const shared = load(options.signal?.(), version);
    shared.catch(() => undefined); // handled in `reload`
    const slot = this.slotOf(target, await this.waitFor(version, options), verifiedAtMs);
    this.count(target.read.namespace, options, 'excluded');
    return this.reload(slot, options.policy, () => shared);
  }

  private targetOf(read: CachedRead, description: ReadDescription, options: LoadOptions): Target {
    const { namespace } = read;
    const { path } = options;
    const { head, demand } = this.knownOf(namespace, description);
    const ttlMs = options.ttlMs ?? this.policy.ttlMs(namespace, path);
    const isTtlSet =
      demand !== undefined &&
      (options.ttlMs !== undefined || this.policy.overrideMs(namespace, path) !== undefined);
    // Every lifetime but the usual one has a key: the lifetime of the namespace is usual, or a learned one.
    const isUsual = demand ? !isTtlSet : ttlMs === this.policy.ttlMs(namespace);
    const query = isUsual ? description.query : `${description.query}-${ttlMs}`;
    const { tenants } = description;
    return { read, tenants, head, query, group: `${head}${query}`, ttlMs, demand, isTtlSet };
  }

  private slotOf(target: Target, version: string, verifiedAtMs: number): Slot {
    const { head, query, demand } = target;
    if (demand) this.estimator?.recordVersion(demand, version, verifiedAtMs);
    return { target, key: `${head}${version}:${query}`, verifiedAtMs };
  }

  /** Measures an entry again that has grown. */
  remeasure(key: string): void {
    this.memory.resize(key);
  }

  /** Keeps the results of running loads of these keys out of the cache; their callers get them. */
  discardRunning(test: (key: string) => boolean): void {
    for (const fill of [...this.inFlight.values(), ...this.reloads]) {
      if (test(fill.key)) fill.isDiscarded = true;
    }
  }

  /** Waits for a version, which one statement reads for all concurrent requests. */
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

  /** Newest entry of a group, if its version was current as recently as `max-stale` asks. */
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
      if (noStore || !this.isKept(entry)) {
        this.reloads.delete(fill);
        return { entry, status };
      }
      // The process tier stores at once; the shared one is not awaited.
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
      // The first caller waited for a permit until its limit; a caller that joined later may wait on.
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
    return { entry, status: 'MISS', ...(this.isKept(entry) ? { key } : {}) };
  }

  private async findInTiers(slot: Slot): Promise<CacheEntry | undefined> {
    const { key, target, verifiedAtMs } = slot;
    const { read, group, demand, isTtlSet } = target;
    const ttlMs = this.lifetimeMs(target);
    const maxTtlMs = isTtlSet ? ttlMs : this.estimator?.maxLifetimeMs;
    const entry = CacheEntry.revive(await this.tiers.get(key), { group, ttlMs, maxTtlMs });
    if (!entry || !read.accepts(entry.tailData)) return undefined;
    entry.verifiedAtMs = verifiedAtMs;
    entry.demand = demand;
    return entry;
  }

  private lifetimeMs({ ttlMs, demand, isTtlSet }: Target): number {
    if (!demand || !this.estimator || isTtlSet) return ttlMs;
    return this.estimator.lifetimeMs(demand);
  }

  /** Loads an entry, whose age counts from before the read: data may have changed while it ran. */
  private async entryFrom(load: Load, { target, verifiedAtMs }: Slot): Promise<CacheEntry> {
    const startedMs = performance.now();
    const shared = await load();
    const ttlMs = this.lifetimeMs(target);
    if (target.demand && !target.isTtlSet) this.statistics.recordLifetime(ttlMs);
    const entry = new CacheEntry(shared, startedMs, ttlMs, target.group);
    entry.verifiedAtMs = verifiedAtMs;
    entry.demand = target.demand;
    return entry;
  }

  /** Stores the result of a load, which callers join until then. */
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

  /** All tiers; the process tier alone for an entry that will be outdated before another replica needs it. */
  private tierFor({ demand }: CacheEntry): Tier | undefined {
    const isShared = !demand || this.estimator?.isWorthSharing(demand, performance.now()) !== false;
    if (isShared) return this.tiers;
    this.statistics.recordUnshared();
    return this.tiers.stores[0];
  }

  /** Stores an entry, unless its key is removed meanwhile: the entry may be older than the removal. */
  private async keep(fill: Fill, entry: CacheEntry, tier: Tier | undefined): Promise<void> {
    if (fill.isDiscarded) return;
    await tier?.set(fill.key, entry, Math.max(1, entry.remainingMs())); // 0 would mean for ever
    if (fill.isDiscarded) await this.tiers.del(fill.key);
  }

  private isKept({ sizeBytes, isTransient }: CacheEntry): boolean {
    return !isTransient && sizeBytes <= this.policy.maxEntryBytes;
  }
}
