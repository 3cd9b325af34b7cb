import { Injectable } from '@nestjs/common';

/** What stands between requests and the database, in figures: percent, MiB, count. */
export interface QueryCacheFigures {
  /** Null without requests. */
  hitRatio: number | null;
  totalSizeMB: number;
  evictions: number;
}

/** Where the figures of the query cache come from. The cache is another capability: the wiring brings them together. */
@Injectable()
export class QueryCacheSource {
  private read: (() => QueryCacheFigures) | undefined;

  provide(read: () => QueryCacheFigures): void {
    this.read = read;
  }

  /** Undefined when nothing is cached in front of the database. */
  figures(): QueryCacheFigures | undefined {
    return this.read?.();
  }
}
