import { Injectable } from '@nestjs/common';

/** Figures of the query cache: percent, MiB, count. */
interface QueryCacheFigures {
  /** Null without requests. */
  hitRatio: number | null;
  totalSizeMB: number;
  evictions: number;
}

/** Figures of the query cache, provided by another capability. */
@Injectable()
export class QueryCacheSource {
  private read: (() => QueryCacheFigures) | undefined;

  provide(read: () => QueryCacheFigures): void {
    this.read = read;
  }

  /** Returns undefined without a cache. */
  figures(): QueryCacheFigures | undefined {
    return this.read?.();
  }
}
