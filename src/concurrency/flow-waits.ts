import { LRUCache } from 'lru-cache';

/** Flows with counts of their own; the least recent are summed. */
const MAX_FLOWS = 256;
const TOP_FLOWS = 10;

/** Waits in milliseconds. */
export interface FlowWait {
  flow: string;
  waits: number;
  totalMs: number;
  maxMs: number;
}

/** Waits for permits by flow, in bounded memory, without permits that were free. */
export class FlowWaits {
  private readonly others: FlowWait = { flow: 'others', waits: 0, totalMs: 0, maxMs: 0 };
  private readonly flows = new LRUCache<string, FlowWait>({
    max: MAX_FLOWS,
    dispose: (wait, _, reason) => {
      if (reason === 'evict') addTo(this.others, wait);
    },
  });
  private readonly all: FlowWait = { flow: 'all', waits: 0, totalMs: 0, maxMs: 0 };

  record(flow: string, waitedMs: number): void {
    const wait = { flow, waits: 1, totalMs: waitedMs, maxMs: waitedMs };
    addTo(this.all, wait);
    const known = this.flows.get(flow);
    if (known) addTo(known, wait);
    else this.flows.set(flow, wait);
  }

  /** All flows together, those with the longest total, and the sum of the rest. */
  report(): { all: FlowWait; top: FlowWait[]; others: FlowWait } {
    const top = [...this.flows.values()]
      .sort((a, b) => b.totalMs - a.totalMs)
      .slice(0, TOP_FLOWS)
      .map((wait) => ({ ...wait }));
    return { all: { ...this.all }, top, others: { ...this.others } };
  }
}

function addTo(sum: FlowWait, { waits, totalMs, maxMs }: FlowWait): void {
  sum.waits += waits;
  sum.totalMs += totalMs;
  sum.maxMs = Math.max(sum.maxMs, maxMs);
}
