import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';

/** Utilization of the event loop above which it is busy, and limits are halved. */
export const BUSY = 0.9;
/** Time for which a flow counts as active after its last request. */
const SEVERAL_FLOWS_MS = 1000;
const SAMPLE_INTERVAL_MS = 100;

/**
 * Detects several flows on a busy event loop: only then is work divided into small portions, which are fairer and a
 * little slower. Has the only timer that samples the event loop.
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
