import { LRUCache } from 'lru-cache';

/** Lanes that are told apart; those that did not wait for the longest time are added up. */
const MAX_LANES = 256;
/** Lanes that a report names. */
const TOP_LANES = 10;

/** How long turns of one lane were waited for, in milliseconds. */
export interface LaneWait {
  lane: string;
  waits: number;
  totalMs: number;
  maxMs: number;
}

/** What waiting for turns has cost, by lane, in bounded space. Turns that came at once are not in it. */
export class LaneWaits {
  private readonly others: LaneWait = { lane: 'others', waits: 0, totalMs: 0, maxMs: 0 };
  private readonly lanes = new LRUCache<string, LaneWait>({
    max: MAX_LANES,
    dispose: (wait, _, reason) => {
      if (reason === 'evict') addTo(this.others, wait);
    },
  });
  private readonly all: LaneWait = { lane: 'all', waits: 0, totalMs: 0, maxMs: 0 };

  /** Notes that a turn of this lane was waited for. */
  record(lane: string, waitedMs: number): void {
    const wait = { lane, waits: 1, totalMs: waitedMs, maxMs: waitedMs };
    addTo(this.all, wait);
    const known = this.lanes.get(lane);
    if (known) addTo(known, wait);
    else this.lanes.set(lane, wait);
  }

  /** All lanes together, those that waited most in total, and the sum of those that are no longer told apart. */
  report(): { all: LaneWait; top: LaneWait[]; others: LaneWait } {
    const top = [...this.lanes.values()]
      .sort((a, b) => b.totalMs - a.totalMs)
      .slice(0, TOP_LANES)
      .map((wait) => ({ ...wait }));
    return { all: { ...this.all }, top, others: { ...this.others } };
  }
}

function addTo(sum: LaneWait, { waits, totalMs, maxMs }: LaneWait): void {
  sum.waits += waits;
  sum.totalMs += totalMs;
  sum.maxMs = Math.max(sum.maxMs, maxMs);
}
