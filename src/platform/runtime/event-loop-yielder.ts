import { Injectable } from '@nestjs/common';
import { reasonOf } from './abort';

/** Timers have no finer steps; what takes less does not keep anybody waiting. */
const LEAST_REST_MS = 1;
/** Nobody else is so slow to come that more would serve him. */
const MOST_REST_MS = 20;

/**
 * Turns of the event loop for work that takes it milliseconds: one portion in each of them, so that everybody else, whose
 * requests and answers take microseconds, comes in between. While others are there who need the loop, it is left to them
 * after each portion for as long as that took: a read has to come to the loop several times, and would find a portion
 * before it each time. First come, first served: who may have portions at all is for others to say (LargeTurns).
 */
@Injectable()
export class LoopPortions {
  private last = Promise.resolve();
  /** Until when the loop is left to others, if they need it. */
  private restUntilMs = 0;
  private isShared = (): boolean => false;

  /** Has `isShared` say, before each portion, whether others need the event loop. */
  shareWhile(isShared: () => boolean): void {
    this.isShared = isShared;
  }

  /**
   * Resolves when the next portion may be done, in a turn of the event loop without another one.
   * @throws the reason of the signal when nobody waits for the work any more: what is done of it is to be let go.
   */
  async next(signal?: AbortSignal): Promise<void> {
    this.last = this.last.then(() => this.rest());
    await this.last;
    const startedMs = performance.now();
    // Once all that goes on from here without waiting has been done.
    process.nextTick(() => {
      const endedMs = performance.now();
      this.restUntilMs = endedMs + Math.min(endedMs - startedMs, MOST_REST_MS);
    });
    if (signal?.aborted) throw reasonOf(signal);
  }

  private async rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    const restMs = this.restUntilMs - performance.now();
    if (restMs < LEAST_REST_MS || !this.isShared()) return;
    await new Promise((resolve) => setTimeout(resolve, Math.round(restMs)));
  }
}
