import { LRUCache } from 'lru-cache';

/** Limit of tenants, of which the least recently requested are dropped; a few hundred bytes each. */
const MAX_TENANTS = 10_000;
/** Number of changes beyond which the count is halved, so that a new rate shows after a few changes. */
const MAX_CHANGES = 4;
/** Weight of the prior: a quarter of a change, so that a few observations outweigh it. */
const PRIOR_CHANGES = 0.25;

interface Observed {
  version: string;
  seenMs: number;
  /** Decaying number of changes within `exposureMs` of observation. */
  changes: number;
  exposureMs: number;
}

/**
 * Learns the rates at which the versions of tenants change from the versions that requests find. A difference between two
 * observations shows a change, and not the number of changes: it counts as the mean number of a Poisson process that has
 * at least one in that time, at the rate known so far (expectation maximization for interval-censored counts). So tenants
 * that are observed seldom and differ each time have a high rate.
 */
export class ChangeRates {
  private readonly observed = new LRUCache<string, Observed>({ max: MAX_TENANTS });

  /** @param priorMs mean time between changes of tenants without observations. */
  constructor(private readonly priorMs: number) {}

  /** Records the version of tenants at a time, on a monotonic clock. */
  record(tenants: string, version: string, nowMs: number): void {
    const known = this.observed.get(tenants);
    if (known === undefined) {
      const exposureMs = PRIOR_CHANGES * this.priorMs;
      this.observed.set(tenants, { version, seenMs: nowMs, changes: PRIOR_CHANGES, exposureMs });
      return;
    }
    const passedMs = Math.max(0, nowMs - known.seenMs);
    known.seenMs += passedMs;
    if (known.version === version) known.exposureMs += passedMs;
    else recordChange(known, version, passedMs);
  }

  /** Returns the changes per millisecond, a positive number. */
  perMs(tenants: string): number {
    const known = this.observed.peek(tenants);
    return known === undefined ? 1 / this.priorMs : known.changes / known.exposureMs;
  }
}

function recordChange(known: Observed, version: string, passedMs: number): void {
  const expected = (passedMs * known.changes) / known.exposureMs;
  known.version = version;
  known.changes += expected < 1e-6 ? 1 : expected / -Math.expm1(-expected);
  known.exposureMs += passedMs;
  while (known.changes > MAX_CHANGES) {
    known.changes /= 2;
    known.exposureMs /= 2;
  }
  // At most one change a millisecond: changes in one tick of the clock must not give an infinite rate.
  known.exposureMs = Math.max(known.exposureMs, known.changes);
}
