import { Injectable } from '@nestjs/common';

/** Fewer requests of the cache say nothing about its hit ratio. */
export const MIN_CACHE_REQUESTS = 100;

/** Since the start. Ratios in percent. */
export interface CacheFigures {
  hitRatio: number;
  totalRequests: number;
  totalHits: number;
  totalMisses: number;
  /** Last minutes alone; the ratio is undefined without requests. */
  window: { requests: number; hitRatio: number | undefined };
}

/** The cache in front of the database: percent (null without requests), MB, count. */
interface QueryCacheFigures {
  hitRatio: number | null;
  totalSizeMB: number;
  evictions: number;
}

export interface ConcurrencyFigures {
  activeRequests: number;
  queuedRequests: number;
  maxConcurrentRequests: number;
  queueSize: number;
}

export interface PoolFigures {
  total: number;
  idle: number;
  waiting: number;
  max: number;
  /** Last minutes: the wait for a connection, and the share of attempts that got one. */
  recent?: { lent: number; averageMs?: number; successPercent?: number };
}

/** Statements of the last minutes over SLOW_QUERY_THRESHOLD_MS, the slowest first. */
export interface SlowQueryFigures {
  count: number;
  slowest: { name: string; count: number; averageMs: number }[];
}

/** Logs set back as PostgreSQL lost commits, within the time for which that is an alert. */
export interface LossFigures {
  recent: number;
  /** Sequence numbers between which one log was set back; `to` is undefined when only `from` was reused. */
  from: number;
  to: number | undefined;
}

interface Sources {
  cache: () => CacheFigures;
  queryCache: () => QueryCacheFigures | undefined;
  concurrency: () => ConcurrencyFigures;
  pool: () => PoolFigures;
  slowQueries: () => SlowQueryFigures;
  /** True when PostgreSQL replies, on a connection that does not queue with requests. */
  database: () => Promise<boolean>;
  /** True when Redis replies, or none is configured. */
  redis: () => boolean;
  /** True when the key set that verifies tokens can be read, or none is configured. */
  keySet: () => boolean;
  /** Partitions that should have been made ahead, as `table month`. */
  missingPartitions: () => Promise<string[]>;
  losses: () => LossFigures;
  /** True when PostgreSQL is reached and does not confirm commits. */
  stalledCommits: () => boolean;
}

/** Figures of sources whose owner has not registered: zeros, and no fault, so that they raise no alert. */
export const NO_FIGURES: Sources = {
  cache: () => ({
    hitRatio: 0,
    totalRequests: 0,
    totalHits: 0,
    totalMisses: 0,
    window: { requests: 0, hitRatio: undefined },
  }),
  queryCache: () => undefined,
  concurrency: () => ({
    activeRequests: 0,
    queuedRequests: 0,
    maxConcurrentRequests: 0,
    queueSize: 0,
  }),
  pool: () => ({ total: 0, idle: 0, waiting: 0, max: 0 }),
  slowQueries: () => ({ count: 0, slowest: [] }),
  database: () => Promise.resolve(true),
  redis: () => true,
  keySet: () => true,
  missingPartitions: () => Promise.resolve([]),
  losses: () => ({ recent: 0, from: 0, to: undefined }),
  stalledCommits: () => false,
};

/** Capabilities register the figures of reports and alerts here, so that this folder knows none of them. */
@Injectable()
export class MeasurementSources {
  private readonly sources: Sources = { ...NO_FIGURES };

  register<K extends keyof Sources>(name: K, source: Sources[K]): void {
    this.sources[name] = source;
  }

  read<K extends keyof Sources>(name: K): ReturnType<Sources[K]> {
    return this.sources[name]() as ReturnType<Sources[K]>;
  }
}
