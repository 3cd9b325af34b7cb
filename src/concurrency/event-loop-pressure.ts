import { Injectable } from '@nestjs/common';
import { LoopPortions } from '../platform/runtime/event-loop-yielder';
import { BUSY } from './aimd-limit';

/** Who has come within this time may come again, and is to find few before him. */
const SEVERAL_LANES_MS = 1000;

/**
 * Whether requests of more than one lane have come lately, to read or to write, and whether the event loop has time for them.
 * What is shared in small portions is fairer and a little slower: that serves nobody where all are of one lane, or where
 * the loop has time. ConnectionTurns, which looks at the loop, tells it; LoopPortions go by it.
 */
@Injectable()
export class LoopContention {
  private lane: string | undefined;
  /** When somebody came of another lane than the one before him. */
  private sinceMs = -Infinity;
  private isBusy = false;

  constructor(portions: LoopPortions) {
    portions.shareWhile(() => this.isCrowded());
  }

  /** Notes that a request of this lane has come. */
  noteLane(lane: string): void {
    if (lane === this.lane) return;
    if (this.lane !== undefined) this.sinceMs = performance.now();
    this.lane = lane;
  }

  /** Notes for which part (0 to 1) of its time the event loop was busy lately. */
  noteLoop(utilization: number): void {
    this.isBusy = utilization > BUSY;
  }

  /** Whether there is somebody to be fair to. */
  hasSeveralLanes(): boolean {
    return performance.now() - this.sinceMs <= SEVERAL_LANES_MS;
  }

  /** Whether there is, and the event loop has no time left: each waits for what the others cost it. */
  isCrowded(): boolean {
    return this.isBusy && this.hasSeveralLanes();
  }
}
