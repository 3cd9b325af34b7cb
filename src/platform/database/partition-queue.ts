import { abortablePromise } from '../runtime/abort';

/** Months that a caller needs partitions for. */
export interface Wanted {
  table: string;
  months: ReadonlySet<string>;
  /** Whose they are: flows are served in turn. */
  flow: string;
  signal?: AbortSignal;
}

/** The same, waiting. */
export interface Creation extends Wanted {
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Callers that wait for partitions, which are made one at a time. Those that need this month or the next are served
 * first, as everybody writes there; then flows in turn, each partition being a turn, so that a caller who needs one of
 * its own does not wait for all of another flow's.
 */
export class PartitionQueue {
  private waiting: Creation[] = [];
  /** When each flow that waits was served last, as a count of all that was served. */
  private readonly served = new Map<string, number>();
  private count = 0;

  /** `isKnown` says whether a month has its partition by now, `urgent` which months are served before others. */
  constructor(
    private readonly isKnown: (table: string, month: string) => boolean,
    private readonly urgent: () => readonly string[],
  ) {}

  /** Resolves when all months have their partitions. @throws the reason of the signal; what `reject` is given. */
  add(wanted: Wanted): Promise<void> {
    return abortablePromise<void>(wanted.signal, (resolve, reject) => {
      const creation: Creation = { ...wanted, resolve, reject };
      this.waiting.push(creation);
      // One that has been taken out is ended by the work on it.
      return (reason) => (this.remove(creation) ? reason : undefined);
    });
  }

  /** Resolves those whose months are all there, and takes the next of the others out. */
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

  /** Lets one wait again that was taken out, unless its signal has aborted. */
  requeue(creation: Creation): void {
    if (creation.signal?.aborted) creation.reject(creation.signal.reason as Error);
    else this.waiting.push(creation);
  }

  /** Ends all that wait. */
  rejectAll(error: Error): void {
    for (const creation of this.waiting.splice(0)) creation.reject(error);
  }

  /** The month of a creation to be made next: this one or the next, or the oldest that is missing; '' for none. */
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
