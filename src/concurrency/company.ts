import { Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { BUSY } from './loop-bound-limit';

/** Who has come within this time may come again, and is to find few before him. */
const COMPANY_MS = 1000;
const LOOK_EVERY_MS = 100;

/**
 * Whether requests of more than one lane have come lately, to read or to write, and whether the event loop has time for them.
 * What is shared in small portions is fairer and a little slower: that serves nobody where all are of one lane, or where
 * the loop has time. It is looked at when it is asked for: the first answer after a pause is of the whole pause.
 */
@Injectable()
export class Company {
  private lane: string | undefined;
  /** When somebody came of another lane than the one before him. */
  private sinceMs = -Infinity;
  private lookedMs = performance.now();
  private seen = performance.eventLoopUtilization();
  private isBusy = false;

  /** Notes that a request of this lane has come. */
  note(lane: string): void {
    if (lane === this.lane) return;
    if (this.lane !== undefined) this.sinceMs = performance.now();
    this.lane = lane;
  }

  /** Whether there is somebody to be fair to. */
  isThere(): boolean {
    return performance.now() - this.sinceMs <= COMPANY_MS;
  }

  /** Whether there is, and the event loop has no time left: each waits for what the others cost it. */
  isCrowding(): boolean {
    this.look();
    return this.isBusy && this.isThere();
  }

  private look(): void {
    const nowMs = performance.now();
    if (nowMs - this.lookedMs < LOOK_EVERY_MS) return;
    const now = performance.eventLoopUtilization();
    this.isBusy = performance.eventLoopUtilization(now, this.seen).utilization > BUSY;
    this.seen = now;
    this.lookedMs = nowMs;
  }
}
