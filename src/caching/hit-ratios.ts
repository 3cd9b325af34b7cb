import { LRUCache } from 'lru-cache';

/** Holders whose ratio is kept; the least recently used go first. */
const MAX_HOLDERS = 1000;
/** From this many reads on, older ones count half: the ratio is that of the last hundreds. */
const MAX_READS = 500;

interface Reads {
  hits: number;
  all: number;
}

/**
 * The hit ratio of the latest reads of each holder: one ratio for all would disclose to each holder the activity of
 * others.
 */
export class HitRatios {
  private readonly reads = new LRUCache<string, Reads>({ max: MAX_HOLDERS });

  /** Counts a read. @returns the ratio of this holder including it, in percent, two decimals. */
  count(holder: string, isHit: boolean): number {
    const { hits, all } = this.reads.get(holder) ?? { hits: 0, all: 0 };
    const share = all >= MAX_READS ? 0.5 : 1;
    const counted = { hits: share * hits + (isHit ? 1 : 0), all: share * all + 1 };
    this.reads.set(holder, counted);
    return Math.round((10_000 * counted.hits) / counted.all) / 100;
  }
}
