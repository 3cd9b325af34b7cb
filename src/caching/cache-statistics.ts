import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { LRUCache } from 'lru-cache';
import type { CacheCountsDto, CacheStatisticsDto } from './cache.openapi';
import { MemoryStore } from './memory-store';
import { RedisConnection } from '../platform/redis/redis-connection';
import { RollingWindow } from '../platform/runtime/rolling-window';

/** Outcome of a request; `excluded` did not search the cache. */
export type CacheOutcome = 'hit' | 'miss' | 'excluded';

type Tally = Record<CacheOutcome, number>;

const BYTES_PER_MB = 1024 * 1024;
const WINDOW_SECONDS = 300;
const SLOT_SECONDS = 10;

/** Counts requests by outcome, by namespace, and in a rolling window. Ratios are percents with two decimals. */
@Injectable()
export class CacheStatistics {
  private readonly all: Tally = emptyTally();
  private readonly namespaces = new Map<string, Tally>();
  /** Entries that were not shared, since the start. */
  private unshared = 0;
  private readonly lifetimes = { count: 0, seconds: 0 };
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

  /** Counts an entry that was not worth its way to the shared tier. */
  recordUnshared(): void {
    this.unshared += 1;
  }

  recordLifetime(ms: number): void {
    this.lifetimes.count += 1;
    this.lifetimes.seconds += ms / 1000;
  }

  /** Decisions since the start: entries that were not shared, and the sum of learned lifetimes. */
  learned(): { unshared: number; lifetimes: number; lifetimeSeconds: number } {
    const { count, seconds } = this.lifetimes;
    return { unshared: this.unshared, lifetimes: count, lifetimeSeconds: seconds };
  }

  totals(): CacheCountsDto {
    return countsOf(this.all);
  }

  byNamespace(): Record<string, CacheCountsDto> {
    return Object.fromEntries([...this.namespaces].map(([name, tally]) => [name, countsOf(tally)]));
  }

  /** Counts of the last five minutes, or up to one slot less; no ratio without requests. */
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

function countsOf({ hit, miss, excluded }: Tally): CacheCountsDto {
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

/** Cache statistics of this process for the API. */
@Injectable()
export class CacheReport {
  constructor(
    private readonly counts: CacheStatistics,
    private readonly memory: MemoryStore,
    private readonly redis: RedisConnection,
  ) {}

  statistics(): CacheStatisticsDto {
    const { isConfigured, isAvailable } = this.redis;
    const { entries, bytes, evictions } = this.memory.statistics();
    const { seconds, requests, hitRatio = null } = this.counts.window();
    return {
      ...this.counts.totals(),
      entries,
      sizeMB: Math.round((100 * bytes) / BYTES_PER_MB) / 100,
      evictions,
      window: { seconds, requests, hitRatio },
      namespaces: this.counts.byNamespace(),
      sharedTier: !isConfigured ? 'none' : isAvailable ? 'up' : 'away',
    };
  }
}

/** Health of the cache: size and hit ratio; degraded while the shared tier is not reached. */
@Injectable()
export class CacheHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly report: CacheReport,
  ) {}

  check(): HealthIndicatorResult {
    const { entries, sizeMB, hitRatio, sharedTier } = this.report.statistics();
    const data = { entries, sizeMB, hitRatio, sharedTier };
    const check = this.health.check('cache');
    return sharedTier === 'away' ? check.degraded(data) : check.up(data);
  }
}

/** Limit of holders, of which the least recently used are evicted. */
const MAX_HOLDERS = 1000;
/** Number of reads beyond which older ones count half: the ratio is of the last hundreds. */
const MAX_READS = 500;

interface Reads {
  hits: number;
  all: number;
}

/** Hit ratios of the latest reads by holder: a common ratio would disclose the activity of others. */
export class HitRatios {
  private readonly reads = new LRUCache<string, Reads>({ max: MAX_HOLDERS });

  /** Counts a read; returns the holder's ratio with it, in percent with two decimals. */
  count(holder: string, isHit: boolean): number {
    const { hits, all } = this.reads.get(holder) ?? { hits: 0, all: 0 };
    const share = all >= MAX_READS ? 0.5 : 1;
    const counted = { hits: share * hits + (isHit ? 1 : 0), all: share * all + 1 };
    this.reads.set(holder, counted);
    return percent(counted.hits, counted.all);
  }
}
