import { Injectable } from '@nestjs/common';

/**
 * Turns of the event loop for work that takes it milliseconds: one portion in each of them, so that everybody else, whose
 * requests and answers take microseconds, comes in between. First come, first served: who may have portions at all is
 * for others to say (LargeTurns).
 */
@Injectable()
export class LoopPortions {
  private last = Promise.resolve();

  /** Resolves when the next portion may be done, in a turn of the event loop without another one. */
  next(): Promise<void> {
    this.last = this.last.then(() => new Promise<void>((resolve) => setImmediate(resolve)));
    return this.last;
  }
}
