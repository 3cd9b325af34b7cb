import { abortReason, abortable, onAbort } from '../platform/runtime/abort';

/** Ending the read takes a few milliseconds; the last one who waited is told when that is done. */
const CANCEL_GRACE_MS = 25;

/** A read under way whose answer is to be kept. */
export interface Fill {
  readonly key: string;
  /** Whether its key was removed meanwhile: its answer is given, but not kept. */
  isDiscarded: boolean;
}

/**
 * A read that is shared by all who want the same. It belongs to all who wait for it: one who leaves gets an answer of his
 * own, and the read goes on; when nobody waits any more, its signal aborts.
 */
export class SingleFlight<T> implements Fill {
  isDiscarded = false;
  /** Whether it was given up: it brings nothing that a newcomer could wait for. */
  isAbandoned = false;
  readonly promise: Promise<T>;
  private waiting = 0;
  private readonly controller = new AbortController();

  constructor(
    readonly key: string,
    begin: (signal: AbortSignal) => Promise<T>,
  ) {
    this.promise = begin(this.controller.signal);
  }

  /**
   * What it brings. Without a signal the caller never leaves.
   * @throws what the read throws, or the reason of the caller's signal.
   */
  async join(signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) throw abortReason(signal);
    this.waiting += 1;
    if (!signal) return this.promise;
    const removeListener = onAbort(signal, () => {
      this.waiting -= 1;
      if (this.waiting > 0) return;
      this.isAbandoned = true;
      this.controller.abort(signal.reason);
    });
    try {
      return await abortable(this.promise, signal, CANCEL_GRACE_MS);
    } finally {
      removeListener();
    }
  }
}
