/**
 * A bounded amount (bytes, streams, subscriptions) of which an owner has at most a part: an owner that releases nothing
 * leaves the rest to others. Nothing waits; the caller refuses.
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

  /** Takes `amount`; false when that exceeds the owner's part or the total. */
  acquire(owner: string, amount = 1): boolean {
    const own = this.takenBy(owner) + amount;
    if (own > this.ownerLimit || this.total + amount > this.limit) return false;
    this.byOwner.set(owner, own);
    this.total += amount;
    return true;
  }

  release(owner: string, amount = 1): void {
    const left = this.takenBy(owner) - amount;
    if (left > 0) this.byOwner.set(owner, left);
    else this.byOwner.delete(owner);
    this.total -= amount;
  }

  /** Takes one; returns its idempotent release, or undefined. */
  lease(owner: string): (() => void) | undefined {
    if (!this.acquire(owner)) return undefined;
    let isHeld = true;
    return () => {
      if (isHeld) this.release(owner);
      isHeld = false;
    };
  }
}
