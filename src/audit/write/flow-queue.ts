export interface FlowShare {
  readonly flow: string;
  readonly size: number;
}

interface Scan<Entry> {
  flow: string;
  entries: Entry[];
  at: number;
  skipped: Entry[];
  taken: number;
  isServed: boolean;
}

/** Waiting entries in a queue per flow, taken in turn. */
export class FlowQueue<Entry> {
  /** Ordered by service: a served flow goes to the end. */
  private readonly flows = new Map<string, Entry[]>();
  private readonly sizes = new Map<string, number>();
  private count = 0;
  private total = 0;

  constructor(private readonly shareOf: (entry: Entry) => FlowShare) {}

  get length(): number {
    return this.count;
  }

  get size(): number {
    return this.total;
  }

  /**
   * Checks capacity for one more entry within `limit`; beyond it within the flow's share, or for its only entry, so
   * that no flow is refused for the load of others.
   */
  hasCapacityFor({ flow, size }: FlowShare, limit: number): boolean {
    if (this.total + size <= limit) return true;
    const own = this.sizes.get(flow) ?? 0;
    const flows = this.sizes.size + (own === 0 ? 1 : 0);
    return (own === 0 && flows > 1) || own + size <= limit / flows;
  }

  enqueue(entry: Entry): void {
    const { flow } = this.shareOf(entry);
    const entries = this.flows.get(flow);
    if (entries) entries.push(entry);
    else this.flows.set(flow, [entry]);
    this.note(entry, 1);
  }

  requeue(entries: readonly Entry[]): void {
    for (const entry of [...entries].reverse()) {
      const { flow } = this.shareOf(entry);
      this.flows.set(flow, [entry, ...(this.flows.get(flow) ?? [])]);
      this.note(entry, 1);
    }
  }

  remove(entry: Entry): boolean {
    const { flow } = this.shareOf(entry);
    const entries = this.flows.get(flow) ?? [];
    const at = entries.indexOf(entry);
    if (at === -1) return false;
    entries.splice(at, 1);
    if (entries.length === 0) this.flows.delete(flow);
    this.note(entry, -1);
    return true;
  }

  /** Takes at most `limit` fitting entries, per round the oldest of each flow. `taken`, `takenOfFlow`: sizes so far. */
  dequeue(
    fits: (entry: Entry, taken: number, takenOfFlow: number) => boolean,
    limit = Infinity,
  ): Entry[] {
    const chosen: Entry[] = [];
    let taken = 0;
    const takeNext = (scan: Scan<Entry>): boolean => {
      while (scan.at < scan.entries.length && chosen.length < limit) {
        const entry = scan.entries[scan.at];
        scan.at += 1;
        if (fits(entry, taken, scan.taken)) {
          const { size } = this.shareOf(entry);
          taken += size;
          scan.taken += size;
          chosen.push(entry);
          scan.isServed = true;
          return true;
        }
        scan.skipped.push(entry);
      }
      return false;
    };
    const scans = [...this.flows].map(([flow, entries]): Scan<Entry> => {
      return { flow, entries, at: 0, skipped: [], taken: 0, isServed: false };
    });
    for (let open = scans; open.length > 0 && chosen.length < limit;) open = open.filter(takeNext);
    for (const scan of scans) if (scan.isServed) this.close(scan);
    for (const entry of chosen) this.note(entry, -1);
    return chosen;
  }

  private close({ flow, entries, at, skipped }: Scan<Entry>): void {
    const rest = [...skipped, ...entries.slice(at)];
    this.flows.delete(flow);
    if (rest.length > 0) this.flows.set(flow, rest);
  }

  private note(entry: Entry, change: 1 | -1): void {
    const { flow, size } = this.shareOf(entry);
    this.count += change;
    this.total += change * size;
    const left = (this.sizes.get(flow) ?? 0) + change * size;
    if (left > 0) this.sizes.set(flow, left);
    else this.sizes.delete(flow);
  }
}
