/** One who waits. Held by its flow until it is granted or has left. */
export interface Waiter {
  /** Called once, with a permit that the waiter now holds. */
  readonly grant: () => void;
  /** Called when the place is given to somebody of a flow that has fewer: the waiter has left. */
  readonly evict: () => void;
  flow: Flow | undefined;
  previous: Waiter | undefined;
  next: Waiter | undefined;
}

/** Those who wait under one key, first come first; flows with anybody in them form a ring. */
interface Flow {
  readonly key: string;
  /** How many wait in it. */
  size: number;
  first: Waiter | undefined;
  last: Waiter | undefined;
  previous: Flow;
  next: Flow;
}

/**
 * A bounded number of permits and a bounded queue for them: one flow for each key, served in turn, so that who waits in
 * one flow is never passed by more than one of each other flow for each place before his own. A full queue still has
 * room for whoever's flow holds less than its share of the places: the last of the longest flow makes room. Every
 * operation is O(1), but that one, which looks at all flows; a flow without anybody is forgotten. It knows no time: who
 * wants to wait only so long leaves.
 */
export class FairQueue {
  private readonly flows = new Map<string, Flow>();
  /** The flow that is served next. */
  private front: Flow | undefined;
  private taken = 0;
  private waiting = 0;
  private limit: number;

  /** At most `max` permits are given, and at most `capacity` wait. */
  constructor(
    max: number,
    readonly capacity: number,
  ) {
    this.limit = max;
  }

  /** Permits that there are. */
  get max(): number {
    return this.limit;
  }

  /** Changes how many permits there are. Whoever holds one keeps it; those who wait get what is new at once. */
  resize(max: number): void {
    this.limit = max;
    for (let next = this.next(); next && this.dequeue(); next = this.next()) this.grant(next);
  }

  /** Permits that are held. */
  get active(): number {
    return this.taken;
  }

  /** How many wait. */
  get queued(): number {
    return this.waiting;
  }

  /** How many flows have somebody waiting. */
  get flowCount(): number {
    return this.flows.size;
  }

  /** Whether all permits are held and all places taken. */
  get isFull(): boolean {
    return this.taken >= this.max && this.waiting >= this.capacity;
  }

  /** Whether one more of this flow could have a permit or wait. */
  hasCapacityFor(key: string): boolean {
    return !this.isFull || this.isBelowShare(key);
  }

  /** Whether a flow would hold no more than an equal part of all places with one more in it. */
  private isBelowShare(key: string): boolean {
    const flow = this.flows.get(key);
    const flows = this.flows.size + (flow ? 0 : 1);
    return (flow?.size ?? 0) + 1 <= this.capacity / flows;
  }

  /** Takes a permit when one is free; nobody waits while one is. */
  dequeue(): boolean {
    if (this.taken >= this.max) return false;
    this.taken += 1;
    return true;
  }

  /**
   * Waits at the end of a flow; undefined when too many wait already and the flow has its share of them. For those whom
   * `take` refused.
   */
  enqueue(
    key: string,
    grant: () => void,
    displace: () => void = () => undefined,
  ): Waiter | undefined {
    if (this.waiting >= this.capacity) {
      const last = this.isBelowShare(key) ? this.longest()?.last : undefined;
      if (!last) return undefined;
      this.remove(last);
      last.evict();
    }
    const flow = this.flows.get(key) ?? this.open(key);
    const previous = flow.last;
    const waiter: Waiter = { grant, evict: displace, flow, previous, next: undefined };
    flow.size += 1;
    if (flow.last) flow.last.next = waiter;
    else flow.first = waiter;
    flow.last = waiter;
    this.waiting += 1;
    return waiter;
  }

  /** Stops waiting; false for one who was granted a permit or has left before. */
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

  /** Gives a permit back: to the first of the flow whose turn it is, if anybody waits. */
  release(): void {
    const next = this.taken > this.max ? undefined : this.next();
    if (next) this.grant(next);
    else this.taken -= 1;
  }

  /** Who gets the next permit. */
  private next(): Waiter | undefined {
    return this.front?.first;
  }

  /** Hands the permit that was taken for it to the first of the flow whose turn it is. */
  private grant(waiter: Waiter): void {
    this.front = waiter.flow?.next;
    this.remove(waiter);
    waiter.grant();
  }

  private longest(): Flow | undefined {
    let longest: Flow | undefined;
    for (const flow of this.flows.values()) if (flow.size > (longest?.size ?? 0)) longest = flow;
    return longest;
  }

  /** A new flow comes behind all others: before the one that is served next. */
  private open(key: string): Flow {
    const flow = { key, size: 0, first: undefined, last: undefined } as unknown as Flow;
    const { front } = this;
    if (front) {
      flow.next = front;
      flow.previous = front.previous;
      front.previous.next = flow;
      front.previous = flow;
    } else {
      flow.next = flow.previous = flow;
      this.front = flow;
    }
    this.flows.set(key, flow);
    return flow;
  }

  private close(flow: Flow): void {
    this.flows.delete(flow.key);
    if (flow.next === flow) {
      this.front = undefined;
      return;
    }
    flow.previous.next = flow.next;
    flow.next.previous = flow.previous;
    if (this.front === flow) this.front = flow.next;
  }
}
