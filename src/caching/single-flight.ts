import { abortReason, abortable, onAbort } from '../platform/runtime/abort';

/** Cancelling takes a few milliseconds; the last caller is answered when the work has ended. */
const CANCEL_GRACE_MS = 25;

/** A running load whose result is to be kept. */
export interface Fill {
  readonly key: string;
  /** Whether its key was removed meanwhile: its callers get the result, but it is not kept. */
  isDiscarded: boolean;
}

/**
 * Work that all callers of one key share. A caller's abort rejects for that caller only; the last one's aborts the work.
 */
export class SingleFlight<T> implements Fill {
  isDiscarded = false;
  /** Whether its work was aborted: a new caller has to begin another. */
  isAbandoned = false;
  readonly promise: Promise<T>;
  private waiting = 0;
  private readonly controller = new AbortController();

  constructor(
    readonly key: string,
    work: (signal: AbortSignal) => Promise<T>,
  ) {
    this.promise = work(this.controller.signal);
  }

  /**
   * The result, for one more caller.
   * @throws what the work throws, or the reason of the caller's signal.
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
