import { AppError } from '../../platform/errors/app-error';
import type { Recorded, WriteRequest, WriteResult } from './write-batch';

/** One transaction of one or more requests. */
export interface Attempt {
  /** Its commit cannot be prevented any more by those who wait for it: it was sent, or strangers wait for it, too. */
  isCommitting: boolean;
  /** Somebody was told that its outcome is not known. */
  isUnknown: boolean;
}

/** A request that waits to be written, and who is to be told. */
export interface Waiting {
  request: WriteRequest;
  /** How often a month of it turned out to have lost its partition. */
  returns: number;
  organizations: Set<string>;
  /** The transaction that has it, while one has. */
  attempt?: Attempt;
  resolve: (recorded: Recorded) => void;
  reject: (error: Error) => void;
}

/** One flow while requests are taken from it. */
interface Scan {
  key: string;
  line: Waiting[];
  at: number;
  passed: Waiting[];
  /** Events taken from it. */
  taken: number;
  isServed: boolean;
}

/** Requests that wait to be written, in one flow for each `WriteRequest.flow`. They are taken from the flows in turn. */
export class WriteQueue {
  /** In the order in which they are served: a flow that was goes to the end. */
  private readonly flows = new Map<string, Waiting[]>();
  private requestCount = 0;
  private eventCount = 0;
  private readonly eventsByFlow = new Map<string, number>();

  /** How many wait. */
  get requests(): number {
    return this.requestCount;
  }

  /** How many events those have. */
  get events(): number {
    return this.eventCount;
  }

  /**
   * Whether one more request may wait where `most` events are enough. When they are there, it may all the same as long
   * as its flow has less than its share of them, or nothing at all: nobody is refused for what others have brought.
   */
  hasCapacityFor({ events, flow }: Pick<WriteRequest, 'events' | 'flow'>, most: number): boolean {
    if (this.eventCount + events.length <= most) return true;
    const own = this.eventsByFlow.get(flow) ?? 0;
    const flows = this.eventsByFlow.size + (own === 0 ? 1 : 0);
    return (own === 0 && flows > 1) || own + events.length <= most / flows;
  }

  enqueue(one: Waiting): void {
    const { flow } = one.request;
    const line = this.flows.get(flow);
    if (line) line.push(one);
    else this.flows.set(flow, [one]);
    this.count(one, 1);
  }

  /** Puts back what was taken, before all others of their flows. */
  requeue(ones: readonly Waiting[]): void {
    for (const one of [...ones].reverse()) {
      const { flow } = one.request;
      this.flows.set(flow, [one, ...(this.flows.get(flow) ?? [])]);
      this.count(one, 1);
    }
  }

  /** Removes one who does not want to wait any more; false when it was taken already. */
  remove(one: Waiting): boolean {
    const { flow } = one.request;
    const line = this.flows.get(flow) ?? [];
    const at = line.indexOf(one);
    if (at === -1) return false;
    line.splice(at, 1);
    if (line.length === 0) this.flows.delete(flow);
    this.count(one, -1);
    return true;
  }

  /**
   * Takes at most `most` of the requests that fit: in each round one of each flow, its oldest. `taken` is the number of
   * events taken so far, `takenOfFlow` that of its flow.
   */
  dequeue(
    fits: (one: Waiting, taken: number, takenOfFlow: number) => boolean,
    most = Infinity,
  ): Waiting[] {
    const chosen: Waiting[] = [];
    let taken = 0;
    const takeNext = (scan: Scan): boolean => {
      while (scan.at < scan.line.length && chosen.length < most) {
        const one = scan.line[scan.at];
        scan.at += 1;
        if (fits(one, taken, scan.taken)) {
          taken += one.request.events.length;
          scan.taken += one.request.events.length;
          chosen.push(one);
          scan.isServed = true;
          return true;
        }
        scan.passed.push(one);
      }
      return false;
    };
    const scans = [...this.flows].map(([key, line]): Scan => ({
      key,
      line,
      at: 0,
      passed: [],
      taken: 0,
      isServed: false,
    }));
    for (let open = scans; open.length > 0 && chosen.length < most;) open = open.filter(takeNext);
    for (const scan of scans) if (scan.isServed) this.close(scan);
    for (const one of chosen) this.count(one, -1);
    return chosen;
  }

  private close({ key, line, at, passed }: Scan): void {
    const rest = [...passed, ...line.slice(at)];
    this.flows.delete(key);
    if (rest.length > 0) this.flows.set(key, rest);
  }

  private count(one: Waiting, change: 1 | -1): void {
    const { flow } = one.request;
    const events = change * one.request.events.length;
    this.requestCount += change;
    this.eventCount += events;
    const left = (this.eventsByFlow.get(flow) ?? 0) + events;
    if (left > 0) this.eventsByFlow.set(flow, left);
    else this.eventsByFlow.delete(flow);
  }
}

/** Tells the caller of a request how it ended. */
export function settle(one: Waiting, result: WriteResult | undefined): void {
  if (!result) one.reject(new AppError('INTERNAL', 'The event was not written.'));
  else if ('refusal' in result) one.reject(result.refusal);
  else one.resolve(result);
}
