import { performance } from 'node:perf_hooks';

/** Duration from which work must be waiting for PostgreSQL: the event loop serves many requests in that time. */
const LONG_MS = 500;

/** Counts running work by the time of its start. */
export class InFlight {
  /** Running work, the earliest first. */
  private readonly running = new Set<{ sinceMs: number }>();

  /** Runs `work`, and counts it until it ends or calls `end`. */
  async count<T>(work: (end: () => void) => Promise<T>): Promise<T> {
    const entry = { sinceMs: performance.now() };
    this.running.add(entry);
    const end = (): void => void this.running.delete(entry);
    try {
      return await work(end);
    } finally {
      end();
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
