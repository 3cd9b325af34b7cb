/** One who waits. Held by its lane until it is granted or has left. */
export interface Waiter {
  readonly lane: string;
  /** Called once, with a permit that the waiter now holds. */
  readonly grant: () => void;
  /** Called when the place is given to somebody of a lane that has fewer: the waiter has left. */
  readonly displace: () => void;
  line: Lane | undefined;
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

  /** At most `max` permits are held, and at most `capacity` wait. */
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
    const line = this.lanes.get(key);
    const lanes = this.lanes.size + (line ? 0 : 1);
    return (line?.size ?? 0) + 1 <= this.capacity / lanes;
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
    const line = this.lanes.get(key) ?? this.open(key);
    const previous = line.last;
    const waiter: Waiter = { lane: key, grant, displace, line, previous, next: undefined };
    line.size += 1;
    if (line.last) line.last.next = waiter;
    else line.first = waiter;
    line.last = waiter;
    this.waiting += 1;
    return waiter;
  }

  /** Stops waiting; false for one who was granted a permit or has left before. */
  leave(waiter: Waiter): boolean {
    const { line, previous, next } = waiter;
    if (!line) return false;
    if (previous) previous.next = next;
    else line.first = next;
    if (next) next.previous = previous;
    else line.last = previous;
    waiter.line = waiter.previous = waiter.next = undefined;
    line.size -= 1;
    this.waiting -= 1;
    if (!line.first) this.close(line);
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
    this.front = waiter.line?.next;
    this.leave(waiter);
    waiter.grant();
  }

  private longest(): Lane | undefined {
    let longest: Lane | undefined;
    for (const line of this.lanes.values()) if (line.size > (longest?.size ?? 0)) longest = line;
    return longest;
  }

  /** A new lane comes behind all others: before the one that is served next. */
  private open(key: string): Lane {
    const line = { key, size: 0, first: undefined, last: undefined } as unknown as Lane;
    const { front } = this;
    if (front) {
      line.next = front;
      line.previous = front.previous;
      front.previous.next = line;
      front.previous = line;
    } else {
      line.next = line.previous = line;
      this.front = line;
    }
    this.lanes.set(key, line);
    return line;
  }

  private close(line: Lane): void {
    this.lanes.delete(line.key);
    if (line.next === line) {
      this.front = undefined;
      return;
    }
    line.previous.next = line.next;
    line.next.previous = line.previous;
    if (this.front === line) this.front = line.next;
  }
}
