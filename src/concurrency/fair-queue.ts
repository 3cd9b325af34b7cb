/** One who waits. Held by its lane until it is granted or has left. */
export interface Waiter {
  /** Called once, with a permit that the waiter now holds. */
  readonly grant: () => void;
  /** Called when the place is given to somebody of a lane that has fewer: the waiter has left. */
  readonly displace: () => void;
  lane: Lane | undefined;
  previous: Waiter | undefined;
  next: Waiter | undefined;
}

/** Those who wait under one key, first come first; lanes with anybody in them form a ring. */
interface Lane {
  readonly key: string;
  /** How many wait in it. */
  size: number;
  first: Waiter | undefined;
  last: Waiter | undefined;
  previous: Lane;
  next: Lane;
}

/**
 * A bounded number of permits and a bounded queue for them: one lane for each key, served in turn, so that who waits in
 * one lane is never passed by more than one of each other lane for each place before his own. A full queue still has
 * room for whoever's lane holds less than its share of the places: the last of the longest lane makes room. Every
 * operation is O(1), but that one, which looks at all lanes; a lane without anybody is forgotten. It knows no time: who
 * wants to wait only so long leaves.
 */
export class FairQueue {
  private readonly lanes = new Map<string, Lane>();
  /** The lane that is served next. */
  private front: Lane | undefined;
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
    for (let next = this.next(); next && this.take(); next = this.next()) this.grant(next);
  }

  /** Permits that are held. */
  get active(): number {
    return this.taken;
  }

  /** How many wait. */
  get queued(): number {
    return this.waiting;
  }

  /** How many lanes have somebody waiting. */
  get laneCount(): number {
    return this.lanes.size;
  }

  /** Whether all permits are held and all places taken. */
  get isFull(): boolean {
    return this.taken >= this.max && this.waiting >= this.capacity;
  }

  /** Whether one more of this lane could have a permit or wait. */
  hasRoomFor(key: string): boolean {
    return !this.isFull || this.isBelowShare(key);
  }

  /** Whether a lane would hold no more than an equal part of all places with one more in it. */
  private isBelowShare(key: string): boolean {
    const lane = this.lanes.get(key);
    const lanes = this.lanes.size + (lane ? 0 : 1);
    return (lane?.size ?? 0) + 1 <= this.capacity / lanes;
  }

  /** Takes a permit when one is free; nobody waits while one is. */
  take(): boolean {
    if (this.taken >= this.max) return false;
    this.taken += 1;
    return true;
  }

  /**
   * Waits at the end of a lane; undefined when too many wait already and the lane has its share of them. For those whom
   * `take` refused.
   */
  join(key: string, grant: () => void, displace: () => void = () => undefined): Waiter | undefined {
    if (this.waiting >= this.capacity) {
      const last = this.isBelowShare(key) ? this.longest()?.last : undefined;
      if (!last) return undefined;
      this.leave(last);
      last.displace();
    }
    const lane = this.lanes.get(key) ?? this.open(key);
    const previous = lane.last;
    const waiter: Waiter = { grant, displace, lane, previous, next: undefined };
    lane.size += 1;
    if (lane.last) lane.last.next = waiter;
    else lane.first = waiter;
    lane.last = waiter;
    this.waiting += 1;
    return waiter;
  }

  /** Stops waiting; false for one who was granted a permit or has left before. */
  leave(waiter: Waiter): boolean {
    const { lane, previous, next } = waiter;
    if (!lane) return false;
    if (previous) previous.next = next;
    else lane.first = next;
    if (next) next.previous = previous;
    else lane.last = previous;
    waiter.lane = waiter.previous = waiter.next = undefined;
    lane.size -= 1;
    this.waiting -= 1;
    if (!lane.first) this.close(lane);
    return true;
  }

  /** Gives a permit back: to the first of the lane whose turn it is, if anybody waits. */
  release(): void {
    const next = this.taken > this.max ? undefined : this.next();
    if (next) this.grant(next);
    else this.taken -= 1;
  }

  /** Who gets the next permit. */
  private next(): Waiter | undefined {
    return this.front?.first;
  }

  /** Hands the permit that was taken for it to the first of the lane whose turn it is. */
  private grant(waiter: Waiter): void {
    this.front = waiter.lane?.next;
    this.leave(waiter);
    waiter.grant();
  }

  private longest(): Lane | undefined {
    let longest: Lane | undefined;
    for (const lane of this.lanes.values()) if (lane.size > (longest?.size ?? 0)) longest = lane;
    return longest;
  }

  /** A new lane comes behind all others: before the one that is served next. */
  private open(key: string): Lane {
    const lane = { key, size: 0, first: undefined, last: undefined } as unknown as Lane;
    const { front } = this;
    if (front) {
      lane.next = front;
      lane.previous = front.previous;
      front.previous.next = lane;
      front.previous = lane;
    } else {
      lane.next = lane.previous = lane;
      this.front = lane;
    }
    this.lanes.set(key, lane);
    return lane;
  }

  private close(lane: Lane): void {
    this.lanes.delete(lane.key);
    if (lane.next === lane) {
      this.front = undefined;
      return;
    }
    lane.previous.next = lane.next;
    lane.next.previous = lane.previous;
    if (this.front === lane) this.front = lane.next;
  }
}
