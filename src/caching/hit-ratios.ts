import { LRUCache } from 'lru-cache';

/** Least recently used holders are evicted first. */
const MAX_HOLDERS = 1000;
/** Beyond this, older reads count half: the ratio is that of the last hundreds. */
const MAX_READS = 500;

interface Reads {
  hits: number;
  all: number;
}

/** Hit ratio of each holder's latest reads: one ratio for all would disclose the activity of others. */
export class HitRatios {
  private readonly reads = new LRUCache<string, Reads>({ max: MAX_HOLDERS });

  /** @returns this holder's ratio including this read, in percent, two decimals. */
  count(holder: string, isHit: boolean): number {
    const { hits, all } = this.reads.get(holder) ?? { hits: 0, all: 0 };
    const share = all >= MAX_READS ? 0.5 : 1;
    const counted = { hits: share * hits + (isHit ? 1 : 0), all: share * all + 1 };
    this.reads.set(holder, counted);
    return Math.round((10_000 * counted.hits) / counted.all) / 100;
  }
}
