import { performance } from 'node:perf_hooks';

/** Duration from which work must be waiting for PostgreSQL: the event loop serves many requests in that time. */
const LONG_MS = 500;

/** Counts running work by the time of its start. */
export class InFlight {
  /** Running work, the earliest first. */
  private readonly running = new Set<{ sinceMs: number }>();

  /** Runs `work`, and counts it until it ends. */
  async count<T>(work: () => Promise<T>): Promise<T> {
    const entry = { sinceMs: performance.now() };
    this.running.add(entry);
    try {
      return await work();
    } finally {
      this.running.delete(entry);
    }
  }

  /** Number of pieces of work that run for LONG_MS or longer. */
  countLong(): number {
    const startedBeforeMs = performance.now() - LONG_MS;
    let count = 0;
    for (const { sinceMs } of this.running) {
      if (sinceMs > startedBeforeMs) break;
      count += 1;
    }
    return count;
  }
}
