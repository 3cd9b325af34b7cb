import { Injectable } from '@nestjs/common';

/** How the cache did. Ratios in percent. */
export interface CacheFigures {
  hitRatio: number;
  totalRequests: number;
  totalHits: number;
  totalMisses: number;
  /** The last minutes alone; the ratio is undefined without requests. */
  window: { requests: number; hitRatio: number | undefined };
}

/** Requests that run and wait now, and how many may. */
export interface ConcurrencyFigures {
  activeRequests: number;
  queuedRequests: number;
  maxConcurrentRequests: number;
  /** Requests that may wait. */
  queueSize: number;
}

/** Connections of the pool now, and how many there may be. */
export interface PoolFigures {
  total: number;
  idle: number;
  waiting: number;
  max: number;
  /** The last minutes: how long a connection was waited for, and how many of those who asked got one. */
  recent?: { lent: number; averageMs?: number; successPercent?: number };
}

/** Statements that took longer than SLOW_QUERY_THRESHOLD_MS in the last minutes, the slowest first. */
export interface SlowQueryFigures {
  count: number;
  slowest: { name: string; count: number; averageMs: number }[];
}

/** Logs that went back because PostgreSQL lost commits, within the time for which that is an alert. */
export interface LossFigures {
  /** Organizations. */
  recent: number;
  /** The numbers between which the log of one of them went back; `to` is undefined when only `from` was given again. */
  from: number;
  to: number | undefined;
}

/** What can be asked of the capabilities, by name. */
export interface Sources {
  cache: () => CacheFigures;
  concurrency: () => ConcurrencyFigures;
  pool: () => PoolFigures;
  slowQueries: () => SlowQueryFigures;
  /** Whether PostgreSQL answers, on a connection that does not wait behind requests. */
  database: () => Promise<boolean>;
  /** Whether Redis answers. Not offered when none is configured. */
  redis: () => boolean;
  /** What should have been made ahead and is missing, as `table month`. */
  missingPartitions: () => Promise<string[]>;
  losses: () => LossFigures;
  /** Whether PostgreSQL is reached and does not confirm commits. */
  stalledCommits: () => boolean;
}

/**
 * Where capabilities leave the figures that reports and alerts are made of: this folder knows none of them. What nobody
 * has offered is absent, and reads as zero or as nothing to complain about.
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
