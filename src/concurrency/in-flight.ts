/** What runs for longer than this waits for PostgreSQL, and not for the event loop, which gives many turns in that time. */
const LONG_MS = 500;

/** Those who have a turn, and since when. */
export class InFlight {
  /** The earliest first. */
  private readonly permits = new Set<{ sinceMs: number }>();

  /** Does `work`, which has its turn from now on. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const turn = { sinceMs: performance.now() };
    this.permits.add(turn);
    try {
      return await work();
    } finally {
      this.permits.delete(turn);
    }
  }

  /** How many have been at it for so long that others should not wait for them. */
  countLong(): number {
    const since = performance.now() - LONG_MS;
    let count = 0;
    for (const { sinceMs } of this.permits) {
      if (sinceMs > since) break;
      count += 1;
    }
    return count;
  }
}
