import { Injectable } from '@nestjs/common';
import { RollingWindow } from '../platform/runtime/rolling-window';

/** A request that did not search the cache is `excluded`. */
export type CacheOutcome = 'hit' | 'miss' | 'excluded';

/** Counts since the start. */
export interface CacheCounts {
  /** Percent of totalRequests, two decimals; 0 without requests. */
  hitRatio: number;
  /** Hits and misses. */
  totalRequests: number;
  totalHits: number;
  totalMisses: number;
  excludedRequests: number;
}

interface Tally {
  hit: number;
  miss: number;
  excluded: number;
}

const WINDOW_SECONDS = 300;
const SLOT_SECONDS = 10;

/** Counts of requests by outcome, namespace, and in a rolling window. */
@Injectable()
export class CacheStatistics {
  private readonly all: Tally = emptyTally();
  private readonly namespaces = new Map<string, Tally>();
  private readonly recent = new RollingWindow(
    SLOT_SECONDS,
    WINDOW_SECONDS / SLOT_SECONDS,
    () => ({ hit: 0, miss: 0 }),
    (slot) => Object.assign(slot, { hit: 0, miss: 0 }),
  );

  protected nowSeconds(): number {
    return performance.now() / 1000;
  }

  record(namespace: string, outcome: CacheOutcome): void {
    this.all[outcome] += 1;
    let tally = this.namespaces.get(namespace);
    if (!tally) {
      tally = emptyTally();
      this.namespaces.set(namespace, tally);
    }
    tally[outcome] += 1;
    if (outcome !== 'excluded') this.recent.current(this.nowSeconds())[outcome] += 1;
  }

  totals(): CacheCounts {
    return countsOf(this.all);
  }

  byNamespace(): Record<string, CacheCounts> {
    return Object.fromEntries([...this.namespaces].map(([name, tally]) => [name, countsOf(tally)]));
  }

  /** Five minutes, or up to one slot less; ratio in percent, two decimals, undefined without requests. */
  window(): { seconds: number; requests: number; hitRatio: number | undefined } {
    let hits = 0;
    let requests = 0;
    for (const { hit, miss } of this.recent.recent(this.nowSeconds())) {
      hits += hit;
      requests += hit + miss;
    }
    const hitRatio = requests === 0 ? undefined : percent(hits, requests);
    return { seconds: WINDOW_SECONDS, requests, hitRatio };
  }
}

function emptyTally(): Tally {
  return { hit: 0, miss: 0, excluded: 0 };
}

function countsOf({ hit, miss, excluded }: Tally): CacheCounts {
  return {
    hitRatio: percent(hit, hit + miss),
    totalRequests: hit + miss,
    totalHits: hit,
    totalMisses: miss,
    excludedRequests: excluded,
  };
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((10_000 * part) / whole) / 100;
}
