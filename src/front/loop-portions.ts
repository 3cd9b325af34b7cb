import { Injectable } from '@nestjs/common';
import { reasonOf } from './unless-aborted';

/**
 * Turns of the event loop for work that takes it milliseconds: one portion in each of them, so that everybody else, whose
 * requests and answers take microseconds, comes in between. First come, first served: who may have portions at all is
 * for others to say (LargeTurns).
 */
@Injectable()
export class LoopPortions {
  private last = Promise.resolve();

  /**
   * Resolves when the next portion may be done, in a turn of the event loop without another one.
   * @throws the reason of the signal when nobody waits for the work any more: what is done of it is to be let go.
   */
  async next(signal?: AbortSignal): Promise<void> {
    this.last = this.last.then(() => new Promise<void>((resolve) => setImmediate(resolve)));
    await this.last;
    if (signal?.aborted) throw reasonOf(signal);
  }
}
