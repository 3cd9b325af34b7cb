import { Injectable } from '@nestjs/common';
import { abortReason } from './abort';

/** The resolution of timers. */
const MIN_PAUSE_MS = 1;
/** The longest pause after one portion. */
const MAX_PAUSE_MS = 20;

/**
 * Divides work that takes milliseconds into portions, one in each iteration of the event loop, so that requests that
 * take microseconds run in between. While `isShared` says that others need the loop, it pauses after each portion for
 * as long as that took: a read comes to the loop several times, and would find a portion before it each time. Order is
 * first come, first served; LargeBodyLimiter decides which work may run.
 */
@Injectable()
export class EventLoopYielder {
  private last = Promise.resolve();
  /** The end of the pause after the last portion. */
  private pausedUntilMs = 0;
  private isShared = (): boolean => false;

  /** Sets what says, before each portion, whether others need the event loop. */
  shareWhile(isShared: () => boolean): void {
    this.isShared = isShared;
  }

  /**
   * Resolves when the next portion may run, in an iteration of the event loop without another one.
   * @throws the reason of the signal, when it has aborted.
   */
  async yieldIfDue(signal?: AbortSignal): Promise<void> {
    this.last = this.last.then(() => this.pause());
    await this.last;
    const startedMs = performance.now();
    // After everything that goes on from here without waiting.
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
