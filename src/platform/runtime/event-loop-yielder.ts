import { Injectable } from '@nestjs/common';
import { abortReason } from './abort';

/** Timers have no finer steps; what takes less does not keep anybody waiting. */
const MIN_PAUSE_MS = 1;
/** Nobody else is so slow to come that more would serve him. */
const MAX_PAUSE_MS = 20;

/**
 * Turns of the event loop for work that takes it milliseconds: one portion in each of them, so that everybody else, whose
 * requests and answers take microseconds, comes in between. While others are there who need the loop, it is left to them
 * after each portion for as long as that took: a read has to come to the loop several times, and would find a portion
 * before it each time. First come, first served: who may have portions at all is for others to say (LargeBodyLimiter).
 */
@Injectable()
export class EventLoopYielder {
  private last = Promise.resolve();
  /** Until when the loop is left to others, if they need it. */
  private pausedUntilMs = 0;
  private isShared = (): boolean => false;

  /** Has `isShared` say, before each portion, whether others need the event loop. */
  shareWhile(isShared: () => boolean): void {
    this.isShared = isShared;
  }

  /**
   * Resolves when the next portion may be done, in a turn of the event loop without another one.
   * @throws the reason of the signal when nobody waits for the work any more: what is done of it is to be let go.
   */
  async yieldIfDue(signal?: AbortSignal): Promise<void> {
    this.last = this.last.then(() => this.pause());
    await this.last;
    const startedMs = performance.now();
    // Once all that goes on from here without waiting has been done.
    process.nextTick(() => {
      const endedMs = performance.now();
      this.pausedUntilMs = endedMs + Math.min(endedMs - startedMs, MAX_PAUSE_MS);
    });
    if (signal?.aborted) throw abortReason(signal);
  }

  private async pause(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    const leftMs = this.pausedUntilMs - performance.now();
    if (leftMs < MIN_PAUSE_MS || !this.isShared()) return;
    await new Promise((resolve) => setTimeout(resolve, Math.round(leftMs)));
  }
}
