/**
 * A bounded amount of something that owners share (bytes, streams, subscriptions), of which one owner has at most a part:
 * an owner that never gives anything back leaves the rest to the others. Nothing waits; the caller refuses.
 */
export class Quota {
  private readonly byOwner = new Map<string, number>();
  private total = 0;

  constructor(
    readonly limit: number,
    readonly ownerLimit: number,
  ) {}

  get taken(): number {
    return this.total;
  }

  takenBy(owner: string): number {
    return this.byOwner.get(owner) ?? 0;
  }

  /** Takes so much for an owner; false when that exceeds what there is, for this owner or for all. */
  acquire(owner: string, amount = 1): boolean {
    const own = this.takenBy(owner) + amount;
    if (own > this.ownerLimit || this.total + amount > this.limit) return false;
    this.byOwner.set(owner, own);
    this.total += amount;
    return true;
  }

  /** Gives back what was taken. */
  release(owner: string, amount = 1): void {
    const left = this.takenBy(owner) - amount;
    if (left > 0) this.byOwner.set(owner, left);
    else this.byOwner.delete(owner);
    this.total -= amount;
  }

  /** Takes one and returns what gives it back, once however often it is called; undefined when there is none. */
  lease(owner: string): (() => void) | undefined {
    if (!this.acquire(owner)) return undefined;
    let isHeld = true;
    return () => {
      if (isHeld) this.release(owner);
      isHeld = false;
    };
  }
}
