import { abortablePromise } from '../runtime/abort';

/** Months whose partitions a caller needs. */
interface WantedMonths {
  table: string;
  months: ReadonlySet<string>;
  /** Flows are served in rotation. */
  flow: string;
  signal?: AbortSignal;
}

/** A caller that waits. */
export interface Creation extends WantedMonths {
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Callers that wait for partitions, which are made one at a time: this month and the next first, as all flows write
 * there; then flows in rotation, a partition each, so that no caller waits for all of another flow's.
 */
export class PartitionQueue {
  private waiting: Creation[] = [];
  /** The number, in order, of the last partition of each waiting flow. */
  private readonly served = new Map<string, number>();
  private count = 0;

  /** `isKnown` says whether a month has its partition, `urgent` which months come first. */
  constructor(
    private readonly isKnown: (table: string, month: string) => boolean,
    private readonly urgent: () => readonly string[],
  ) {}

  /** Resolves when all months have their partitions. @throws the reason of the signal; what `reject` is given. */
  add(wanted: WantedMonths): Promise<void> {
    return abortablePromise<void>(wanted.signal, (resolve, reject) => {
      const creation: Creation = { ...wanted, resolve, reject };
      this.waiting.push(creation);
      // The work on one that was dequeued ends it.
      return (reason) => (this.remove(creation) ? reason : undefined);
    });
  }

  /** Resolves those whose months are all there, and takes the next of the others. */
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

  /** Lets a dequeued one wait again, unless its signal has aborted. */
  requeue(creation: Creation): void {
    if (creation.signal?.aborted) creation.reject(creation.signal.reason as Error);
    else this.waiting.push(creation);
  }

  rejectAll(error: Error): void {
    for (const creation of this.waiting.splice(0)) creation.reject(error);
  }

  /** The next month of a creation: this one or the next, or the oldest that is missing; '' for none. */
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
