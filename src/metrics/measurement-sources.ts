import { Injectable } from '@nestjs/common';

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

export interface Sources {
  cache: () => CacheFigures;
  queryCache: () => QueryCacheFigures;
  concurrency: () => ConcurrencyFigures;
  pool: () => PoolFigures;
  slowQueries: () => SlowQueryFigures;
  /** True when PostgreSQL replies, on a connection that does not queue with requests. */
  database: () => Promise<boolean>;
  /** True when Redis replies. Not registered when none is configured. */
  redis: () => boolean;
  /** Partitions that should have been made ahead, as `table month`. */
  missingPartitions: () => Promise<string[]>;
  losses: () => LossFigures;
  /** True when PostgreSQL is reached and does not confirm commits. */
  stalledCommits: () => boolean;
}

/**
 * Capabilities register the figures of reports and alerts here, so that this folder knows none of them. A missing
 * source reads as zero or as no fault.
 */
@Injectable()
export class MeasurementSources {
  private readonly sources: Partial<Sources> = {};

  register<K extends keyof Sources>(name: K, source: Sources[K]): void {
    this.sources[name] = source;
  }

  find<K extends keyof Sources>(name: K): Partial<Sources>[K] {
    return this.sources[name];
  }
}
