import { performance } from 'node:perf_hooks';

/** Longer work waits for PostgreSQL, and not for the event loop, which serves many requests in that time. */
const LONG_MS = 500;

/** Running work by start. */
export class InFlight {
  /** Earliest first. */
  private readonly works = new Set<{ sinceMs: number }>();

  async during<T>(work: () => Promise<T>): Promise<T> {
    const entry = { sinceMs: performance.now() };
    this.works.add(entry);
    try {
      return await work();
    } finally {
      this.works.delete(entry);
    }
  }

  /** Number of works so long that others should not wait for them. */
  countLong(): number {
    const startedBeforeMs = performance.now() - LONG_MS;
    let count = 0;
    for (const { sinceMs } of this.works) {
      if (sinceMs > startedBeforeMs) break;
      count += 1;
    }
    return count;
  }
}
