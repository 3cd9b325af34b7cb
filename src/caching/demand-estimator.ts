import { randomBytes } from 'node:crypto';
import { ChangeRates } from './change-rates';
import { FrequencySketch, seededHash } from './frequency-sketch';

/** A response as requests ask for it, whatever its version: popularity survives commits. */
export interface Demand {
  /** Of the key without the version. */
  readonly hash: number;
  /** Owners of the data, as text. */
  readonly tenants: string;
}

/** All times in milliseconds. */
export interface LifetimeLimits {
  /** Fixed lifetime, from which nothing learned departs without evidence. */
  usualMs: number;
  minMs: number;
  maxMs: number;
}

/** Nineteen of twenty entries are outdated by then, if changes come at random. */
const MEAN_INTERVALS = 3;
/** Below so many expected hits before the next change an entry is not worth its way to the shared tier. */
const MIN_SHARED_HITS = 0.25;
/** Several columns (four counters, 8 bytes) for each entry of the least size (memory-store.ts); 1.6 % of the bound. */
const BYTES_PER_COLUMN = 512;
const [MIN_WIDTH, MAX_WIDTH] = [1024, 2 ** 18];

/**
 * Learns how often each response is asked for and how often its tenants change, and estimates from both what a cached
 * response is worth and how long it is worth keeping. Memory is bounded; estimates never decide whether a response is
 * current, only its place and time in memory (docs/adr/0050-adaptive-cache.md).
 */
export class DemandEstimator {
  private readonly seed = randomBytes(4).readUInt32LE();
  private readonly requests: FrequencySketch;
  private readonly changes: ChangeRates;
  private readonly limits: LifetimeLimits;

  /** @param cacheBytes bound of the process tier. */
  constructor(cacheBytes: number, { usualMs, minMs, maxMs }: LifetimeLimits) {
    const width = 2 ** Math.floor(Math.log2(cacheBytes / BYTES_PER_COLUMN));
    this.requests = new FrequencySketch(
      Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, width)),
      performance.now(),
    );
    this.changes = new ChangeRates(usualMs / MEAN_INTERVALS);
    // A fixed lifetime beyond the limits is the limit.
    this.limits = { usualMs, minMs: Math.min(minMs, usualMs), maxMs: Math.max(maxMs, usualMs) };
  }

  get maxLifetimeMs(): number {
    return this.limits.maxMs;
  }

  /** Responses that the process tier holds now. */
  fitTo(entries: number): void {
    this.requests.fitTo(entries);
  }

  demandOf(key: string, tenants: string): Demand {
    return { hash: seededHash(key, this.seed), tenants };
  }

  recordRequest({ hash }: Demand, nowMs: number): void {
    this.requests.increment(hash, nowMs);
  }

  recordVersion({ tenants }: Demand, version: string, nowMs: number): void {
    this.changes.record(tenants, version, nowMs);
  }

  /**
   * Hits that a cached response has in a period: its requests, times the probability that no change precedes the next
   * one.
   */
  worth(demand: Demand, nowMs: number): number {
    const requests = this.requests.estimate(demand.hash);
    return requests === 0 ? 0 : requests / (1 + 1 / this.hitsPerVersion(demand, requests, nowMs));
  }

  isWorthSharing(demand: Demand, nowMs: number): boolean {
    const requests = this.requests.estimate(demand.hash);
    return this.hitsPerVersion(demand, requests, nowMs) >= MIN_SHARED_HITS;
  }

  /**
   * Whole seconds, as milliseconds: until the entry is probably outdated, within the limits. How often it is asked for
   * decides elsewhere whether it stays that long.
   */
  lifetimeMs({ tenants }: Demand): number {
    const { minMs, maxMs } = this.limits;
    const wantedMs = MEAN_INTERVALS / this.changes.perMs(tenants);
    return Math.round(Math.min(maxMs, Math.max(minMs, wantedMs)) / 1000) * 1000;
  }

  /** Requests for each change: the mean number of hits of one version. */
  private hitsPerVersion({ tenants }: Demand, requests: number, nowMs: number): number {
    return requests / (this.requests.periodMs(nowMs) * this.changes.perMs(tenants));
  }
}
