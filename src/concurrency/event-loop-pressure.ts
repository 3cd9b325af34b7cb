import { Injectable } from '@nestjs/common';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { BUSY } from './aimd-limit';

/** Who has come within this time may come again, and is to find few before him. */
const SEVERAL_FLOWS_MS = 1000;

/**
 * Whether requests of more than one flow have come lately, to read or to write, and whether the event loop has time for them.
 * What is shared in small portions is fairer and a little slower: that serves nobody where all are of one flow, or where
 * the loop has time. ConnectionLimiter, which looks at the loop, tells it; EventLoopYielder go by it.
 */
@Injectable()
export class EventLoopPressure {
  private flow: string | undefined;
  /** When somebody came of another flow than the one before him. */
  private sinceMs = -Infinity;
  private isBusy = false;

  constructor(portions: EventLoopYielder) {
    portions.shareWhile(() => this.isHigh());
  }

  /** Notes that a request of this flow has come. */
  noteFlow(flow: string): void {
    if (flow === this.flow) return;
    if (this.flow !== undefined) this.sinceMs = performance.now();
    this.flow = flow;
  }

  /** Notes for which part (0 to 1) of its time the event loop was busy lately. */
  noteLoop(utilization: number): void {
    this.isBusy = utilization > BUSY;
  }

  /** Whether there is somebody to be fair to. */
  hasSeveralFlows(): boolean {
    return performance.now() - this.sinceMs <= SEVERAL_FLOWS_MS;
  }

  /** Whether there is, and the event loop has no time left: each waits for what the others cost it. */
  isHigh(): boolean {
    return this.isBusy && this.hasSeveralFlows();
  }
}
