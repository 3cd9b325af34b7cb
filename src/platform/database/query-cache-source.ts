import { Injectable } from '@nestjs/common';

/** Figures of the cache before the database: percent, MiB, count. */
interface QueryCacheFigures {
  /** Null without requests. */
  hitRatio: number | null;
  totalSizeMB: number;
  evictions: number;
}

/** Source of the figures of the query cache, which is another capability: the wiring connects them. */
@Injectable()
export class QueryCacheSource {
  private read: (() => QueryCacheFigures) | undefined;

  provide(read: () => QueryCacheFigures): void {
    this.read = read;
  }

  /** Undefined when nothing is cached. */
  figures(): QueryCacheFigures | undefined {
    return this.read?.();
  }
}
