import { randomBytes } from 'node:crypto';
import { ChangeRates } from './change-rates';
import { FrequencySketch, seededHash } from './frequency-sketch';

/** Response in any version: popularity survives commits. */
export interface Demand {
  /** Hash of the key without the version. */
  readonly hash: number;
  /** Owners of the data, as text. */
  readonly tenants: string;
}

/** All times in milliseconds. */
export interface LifetimeLimits {
  /** Fixed lifetime, which holds until there are observations. */
  usualMs: number;
  minMs: number;
  maxMs: number;
}

/** Multiple of the mean time between changes: by then nineteen of twenty entries are outdated, if changes are random. */
const MEAN_INTERVALS = 3;
/** Expected hits before the next change from which an entry is worth its way to the shared tier. */
const MIN_SHARED_HITS = 0.25;
/** Bytes of cache for each column (four counters, 8 bytes) of the sketch, several for the smallest entry; 1.6 % of the bound. */
const BYTES_PER_COLUMN = 512;
const [MIN_WIDTH, MAX_WIDTH] = [1024, 2 ** 18];

/**
 * Learns how often each response is requested and how often its tenants change, and estimates by both the worth and the
 * lifetime of a cached response. Its memory is bounded. Estimates decide about place and time in memory, and never
 * whether a response is current (docs/adr/0050-adaptive-cache.md).
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
    // A fixed lifetime beyond a limit moves the limit.
    this.limits = { usualMs, minMs: Math.min(minMs, usualMs), maxMs: Math.max(maxMs, usualMs) };
  }

  get maxLifetimeMs(): number {
    return this.limits.maxMs;
  }

  /** Sets the number of responses in the process tier. */
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
   * Estimates the hits of a cached response in a period: its requests, times the probability that no change precedes the
   * next request.
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
   * Estimates the milliseconds, in whole seconds and within limits, until an entry is probably outdated. Whether it stays
   * for so long depends on its requests (TinyLfu).
   */
  lifetimeMs({ tenants }: Demand): number {
    const { minMs, maxMs } = this.limits;
    const wantedMs = MEAN_INTERVALS / this.changes.perMs(tenants);
    return Math.round(Math.min(maxMs, Math.max(minMs, wantedMs)) / 1000) * 1000;
  }

  /** Estimates the requests for each change, which is the mean number of hits of a version. */
  private hitsPerVersion({ tenants }: Demand, requests: number, nowMs: number): number {
    return requests / (this.requests.periodMs(nowMs) * this.changes.perMs(tenants));
  }
}
