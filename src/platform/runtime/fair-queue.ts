export interface Waiter {
  /** Called once, with a permit that the waiter now holds. */
  readonly grant: () => void;
  /** Called after its removal in favour of a flow with fewer waiters. */
  readonly evict: () => void;
  flow: Flow | undefined;
  previous: Waiter | undefined;
  next: Waiter | undefined;
}

/** Waiters of one key, first come first served, in a ring of flows. */
interface Flow {
  readonly key: string;
  size: number;
  first: Waiter | undefined;
  last: Waiter | undefined;
  previous: Flow;
  next: Flow;
}

/**
 * Bounded permits and queue, one flow for each key, round robin: for each waiter before it in its own flow, a waiter is
 * overtaken by at most one of each other flow. A full queue still accepts a flow that holds less than an equal share,
 * and evicts the last waiter of the longest flow. Operations are O(1), eviction visits all flows. Timeouts are the
 * caller's: it removes its waiter.
 */
export class FairQueue {
  private readonly flows = new Map<string, Flow>();
  private nextFlow: Flow | undefined;
  private acquired = 0;
  private waiting = 0;

  constructor(
    private limit: number,
    readonly capacity: number,
  ) {}

  get max(): number {
    return this.limit;
  }

  /** Holders keep their permits; waiters get new ones at once. */
  resize(max: number): void {
    this.limit = max;
    for (let next = this.peek(); next && this.tryAcquire(); next = this.peek()) this.grant(next);
  }

  get active(): number {
    return this.acquired;
  }

  get queued(): number {
    return this.waiting;
  }

  get flowCount(): number {
    return this.flows.size;
  }

  get isFull(): boolean {
    return this.acquired >= this.limit && this.waiting >= this.capacity;
  }

  /** True when one more request of this flow could get a permit or wait. */
  hasCapacityFor(key: string): boolean {
    return !this.isFull || this.isBelowShare(key);
  }

  private isBelowShare(key: string): boolean {
    const flow = this.flows.get(key);
    const flows = this.flows.size + (flow ? 0 : 1);
    return (flow?.size ?? 0) + 1 <= this.capacity / flows;
  }

  /** Takes a permit if one is free; there are no waiters while one is. */
  tryAcquire(): boolean {
    if (this.acquired >= this.limit) return false;
    this.acquired += 1;
    return true;
  }

  /** Appends a waiter, after `tryAcquire` returned false; undefined when the flow has its share of a full queue. */
  enqueue(key: string, grant: () => void, evict: () => void = () => undefined): Waiter | undefined {
    if (this.waiting >= this.capacity) {
      const last = this.isBelowShare(key) ? this.longest()?.last : undefined;
      if (!last) return undefined;
      this.remove(last);
      last.evict();
    }
    const flow = this.flows.get(key) ?? this.open(key);
    const previous = flow.last;
    const waiter: Waiter = { grant, evict, flow, previous, next: undefined };
    flow.size += 1;
    if (previous) previous.next = waiter;
    else flow.first = waiter;
    flow.last = waiter;
    this.waiting += 1;
    return waiter;
  }

  /** False when the waiter was granted a permit, removed or evicted before. */
  remove(waiter: Waiter): boolean {
    const { flow, previous, next } = waiter;
    if (!flow) return false;
    if (previous) previous.next = next;
    else flow.first = next;
    if (next) next.previous = previous;
    else flow.last = previous;
    waiter.flow = waiter.previous = waiter.next = undefined;
    flow.size -= 1;
    this.waiting -= 1;
    if (!flow.first) this.close(flow);
    return true;
  }

  release(): void {
    const next = this.acquired > this.limit ? undefined : this.peek();
    if (next) this.grant(next);
    else this.acquired -= 1;
  }

  private peek(): Waiter | undefined {
    return this.nextFlow?.first;
  }

  private grant(waiter: Waiter): void {
    this.nextFlow = waiter.flow?.next;
    this.remove(waiter);
    waiter.grant();
  }

  private longest(): Flow | undefined {
    let longest: Flow | undefined;
    for (const flow of this.flows.values()) if (flow.size > (longest?.size ?? 0)) longest = flow;
    return longest;
  }

  /** Before the flow that is served next: the end of the ring. */
  private open(key: string): Flow {
    const flow = { key, size: 0, first: undefined, last: undefined } as unknown as Flow;
    const { nextFlow } = this;
    if (nextFlow) {
      flow.next = nextFlow;
      flow.previous = nextFlow.previous;
      nextFlow.previous.next = flow;
      nextFlow.previous = flow;
    } else {
      flow.next = flow.previous = flow;
      this.nextFlow = flow;
    }
    this.flows.set(key, flow);
    return flow;
  }

  private close(flow: Flow): void {
    this.flows.delete(flow.key);
    if (flow.next === flow) {
      this.nextFlow = undefined;
      return;
    }
    flow.previous.next = flow.next;
    flow.next.previous = flow.previous;
    if (this.nextFlow === flow) this.nextFlow = flow.next;
  }
}
