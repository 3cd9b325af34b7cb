import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';

/** Utilization of the event loop above which it is busy, and limits are halved. */
const BUSY = 0.9;
/** A flow seen within this time may come again. */
const SEVERAL_FLOWS_MS = 1000;
const SAMPLE_INTERVAL_MS = 100;

/**
 * Detects several flows on a busy event loop: only then small portions pay, as they are fairer and a little slower.
 * Owns the one timer that samples the loop.
 */
@Injectable()
export class EventLoopPressure implements BeforeApplicationShutdown {
  private flow: string | undefined;
  private changedAtMs = -Infinity;
  private isBusy = false;
  private sampling: NodeJS.Timeout | undefined;
  private readonly listeners: ((utilization: number) => void)[] = [];

  constructor(yielder: EventLoopYielder) {
    yielder.shareWhile(() => this.isHigh());
  }

  /** Calls `listener` ten times a second with the event loop's utilization (0 to 1). */
  onSample(listener: (utilization: number) => void): void {
    this.listeners.push(listener);
    if (this.sampling) return;
    let last = performance.eventLoopUtilization();
    this.sampling = setInterval(() => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      this.noteLoop(utilization);
      for (const notify of this.listeners) notify(utilization);
    }, SAMPLE_INTERVAL_MS).unref();
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.sampling);
  }

  noteFlow(flow: string): void {
    if (flow === this.flow) return;
    if (this.flow !== undefined) this.changedAtMs = performance.now();
    this.flow = flow;
  }

  noteLoop(utilization: number): void {
    this.isBusy = utilization > BUSY;
  }

  hasSeveralFlows(): boolean {
    return performance.now() - this.changedAtMs <= SEVERAL_FLOWS_MS;
  }

  isHigh(): boolean {
    return this.isBusy && this.hasSeveralFlows();
  }
}

/** Utilization below which it rises. Between the two nothing changes, so that the limit comes to rest. */
const FREE = 0.7;
/** While one waits for PostgreSQL, the other one uses the event loop. */
const MIN_LIMIT = 2;

/**
 * Additive increase, multiplicative decrease (https://www.rfc-editor.org/rfc/rfc5681#section-3.1) of concurrent work:
 * more than one thread can do speeds up nothing and delays every flow.
 */
export class AimdLimit {
  private limit: number;

  /** @param max the limit while the loop has time. */
  constructor(private readonly max: number) {
    this.limit = max;
  }

  /** Returns the new limit by the event loop's utilization (0 to 1) since the last call. */
  next(utilization: number): number {
    if (utilization > BUSY) this.limit = Math.max(MIN_LIMIT, Math.floor(this.limit / 2));
    else if (utilization < FREE) this.limit += 1;
    this.limit = Math.min(this.max, this.limit);
    return this.limit;
  }
}

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
