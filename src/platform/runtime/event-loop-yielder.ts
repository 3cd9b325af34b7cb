import { Injectable } from '@nestjs/common';
import { abortReason } from './abort';

/** Resolution of timers. */
const MIN_PAUSE_MS = 1;
const MAX_PAUSE_MS = 20;

/**
 * Divides long work into portions, one in each iteration of the event loop, so that short requests run in between.
 * While `isShared` is true, a pause as long follows each portion: a read comes to the loop several times, and would
 * wait for a portion each time. First come, first served; LargeBodyLimiter decides which work may run.
 */
@Injectable()
export class EventLoopYielder {
  private last = Promise.resolve();
  private pausedUntilMs = 0;
  private isShared = (): boolean => false;

  /** Sets the check for other load, made before each portion. */
  shareWhile(isShared: () => boolean): void {
    this.isShared = isShared;
  }

  /**
   * Resolves in an iteration of the event loop without another portion.
   * @throws the reason of the signal, when it has aborted.
   */
  async yieldIfDue(signal?: AbortSignal): Promise<void> {
    this.last = this.last.then(() => this.pause());
    await this.last;
    const startedMs = performance.now();
    // Runs after all that continues from here without waiting.
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
