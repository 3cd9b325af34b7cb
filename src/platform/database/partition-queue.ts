import { abortablePromise } from '../runtime/abort';

interface WantedMonths {
  table: string;
  months: ReadonlySet<string>;
  /** Key of the rotation. */
  flow: string;
  signal?: AbortSignal;
}

export interface Creation extends WantedMonths {
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Queue for partitions, which are created one at a time: this month and the next first, as all flows write there, then
 * flows in rotation, a partition each, so that no flow waits for all partitions of another. FairQueue does not fit, as
 * urgent months overtake the rotation, and one partition may complete callers of several flows.
 */
export class PartitionQueue {
  private waiting: Creation[] = [];
  /** Serial number of the last partition of each waiting flow. */
  private readonly served = new Map<string, number>();
  private count = 0;

  /** @param urgent returns the months that come first. */
  constructor(
    private readonly isKnown: (table: string, month: string) => boolean,
    private readonly urgent: () => readonly string[],
  ) {}

  /**
   * Resolves when all months have their partitions.
   * @throws the reason of the signal; the error passed to `reject`.
   */
  add(wanted: WantedMonths): Promise<void> {
    return abortablePromise<void>(wanted.signal, (resolve, reject) => {
      const creation: Creation = { ...wanted, resolve, reject };
      this.waiting.push(creation);
      // A dequeued caller is settled by the running creation.
      return (reason) => (this.remove(creation) ? reason : undefined);
    });
  }

  /** Resolves callers whose months all exist, and removes the next of the others from the queue. */
  dequeue(): Creation | undefined {
    const open = this.waiting.filter((creation) => {
      const isOpen = this.firstOf(creation) !== '';
      if (!isOpen) creation.resolve();
      return isOpen;
    });
    this.waiting = open;
    const flows = new Set(open.map(({ flow }) => flow));
    for (const flow of this.served.keys()) if (!flows.has(flow)) this.served.delete(flow);
    const months = this.urgent();
    const urgent = open.filter((creation) => months.includes(this.firstOf(creation)));
    const [first, ...others] = urgent.length > 0 ? urgent : open;
    if (!first) return undefined;
    const next = others.reduce(
      (best, one) => (this.ageOf(one) < this.ageOf(best) ? one : best),
      first,
    );
    this.remove(next);
    this.count += 1;
    this.served.set(next.flow, this.count);
    return next;
  }

  /** Puts a dequeued caller back, unless its signal has aborted. */
  requeue(creation: Creation): void {
    if (creation.signal?.aborted) creation.reject(creation.signal.reason as Error);
    else this.waiting.push(creation);
  }

  rejectAll(error: Error): void {
    for (const creation of this.waiting.splice(0)) creation.reject(error);
  }

  /** Returns the month that is created next for a caller: an urgent one, else its oldest; '' for none. */
  firstOf({ table, months }: Creation): string {
    const urgent = this.urgent();
    let first = '';
    for (const month of months) {
      if (this.isKnown(table, month)) continue;
      if (urgent.includes(month)) return month;
      if (first === '' || month < first) first = month;
    }
    return first;
  }

  private ageOf({ flow }: Creation): number {
    return this.served.get(flow) ?? 0;
  }

  private remove(creation: Creation): boolean {
    const at = this.waiting.indexOf(creation);
    if (at !== -1) this.waiting.splice(at, 1);
    return at !== -1;
  }
}
