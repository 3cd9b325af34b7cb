import { abortable, abortReason, onAbort } from '../platform/runtime/abort';
import { attachSpans, SharedSpans, spansOf } from '../platform/runtime/time-spans';

/** Cancelling takes a few milliseconds; the last caller is rejected once the work has ended. */
const CANCEL_GRACE_MS = 25;

/** Running load whose result is to be cached. */
export interface Fill {
  readonly key: string;
  /** True once its key was removed: callers get the result, but it is not cached. */
  isDiscarded: boolean;
}

/** Work shared by all callers of one key. An abort rejects for its caller; the last one's aborts the work. */
export class SingleFlight<T> implements Fill {
  isDiscarded = false;
  /** A new caller has to begin another. */
  isAbandoned = false;
  readonly promise: Promise<T>;
  private waiting = 0;
  private readonly controller = new AbortController();
  private readonly spans = new SharedSpans();

  constructor(
    readonly key: string,
    work: (signal: AbortSignal) => Promise<T>,
  ) {
    attachSpans(this.controller.signal, this.spans);
    this.promise = work(this.controller.signal);
  }

  /** @throws what the work throws, or the reason of the caller's signal. */
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
    const own = spansOf(signal);
    const leave = own && this.spans.follow(own);
    try {
      return await abortable(this.promise, signal, CANCEL_GRACE_MS);
    } finally {
      leave?.();
      removeListener();
    }
  }
}
