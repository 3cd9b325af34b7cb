import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { BUSY } from './aimd-limit';

/** A flow that came within this time may come again. */
const SEVERAL_FLOWS_MS = 1000;
const SAMPLE_INTERVAL_MS = 100;

/**
 * Whether requests of more than one flow came lately, to read or to write, and whether the event loop has time for them.
 * Small portions are fairer and a little slower, so they pay only when both are so. The one timer that samples the loop:
 * limiters adapt to its samples.
 */
@Injectable()
export class EventLoopPressure implements BeforeApplicationShutdown {
  private flow: string | undefined;
  /** When a request was last of another flow than the one before it. */
  private changedAtMs = -Infinity;
  private isBusy = false;
  private sampling: NodeJS.Timeout | undefined;
  private readonly listeners: ((utilization: number) => void)[] = [];

  constructor(yielder: EventLoopYielder) {
    yielder.shareWhile(() => this.isHigh());
  }

  /** Calls `listener` ten times a second with the part (0 to 1) of its time that the event loop was busy. */
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

  /** Notes that a request of this flow has come. */
  noteFlow(flow: string): void {
    if (flow === this.flow) return;
    if (this.flow !== undefined) this.changedAtMs = performance.now();
    this.flow = flow;
  }

  /** Notes for which part (0 to 1) of its time the event loop was busy lately. */
  noteLoop(utilization: number): void {
    this.isBusy = utilization > BUSY;
  }

  hasSeveralFlows(): boolean {
    return performance.now() - this.changedAtMs <= SEVERAL_FLOWS_MS;
  }

  /** Whether several flows came and the event loop is busy: each waits for what the others cost it. */
  isHigh(): boolean {
    return this.isBusy && this.hasSeveralFlows();
  }
}
