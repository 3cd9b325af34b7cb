import {
  abortable,
  abortReason,
  attachDeadline,
  deadlineOf,
  onAbort,
} from '../platform/runtime/abort';
import { attachSpans, SharedSpans, spansOf } from '../platform/runtime/time-spans';

/** Time for the work to end after an abort, which takes a few milliseconds, before its last caller is rejected. */
const CANCEL_GRACE_MS = 25;

/** Running load whose result is to be cached. */
export interface Fill {
  readonly key: string;
  /** True when its key was removed meanwhile: callers get the result, which is not cached. */
  isDiscarded: boolean;
}

/** Work that all callers of a key share. An abort rejects for its caller; the abort of the last one ends the work. */
export class SingleFlight<T> implements Fill {
  isDiscarded = false;
  /** True when the work was aborted: a new caller has to begin another. */
  isAbandoned = false;
  readonly promise: Promise<T>;
  private waiting = 0;
  private readonly controller = new AbortController();
  private readonly spans = new SharedSpans();
  /** Of the callers that wait. */
  private readonly signals = new Set<AbortSignal>();

  constructor(
    readonly key: string,
    work: (signal: AbortSignal) => Promise<T>,
  ) {
    attachSpans(this.controller.signal, this.spans);
    attachDeadline(this.controller.signal, () => Math.min(...[...this.signals].map(deadlineOf)));
    this.promise = work(this.controller.signal);
  }

  /** Waits for the result. @throws errors of the work; the reason of the caller's signal. */
  async join(signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) throw abortReason(signal);
    this.waiting += 1;
    if (!signal) return this.promise;
    this.signals.add(signal);
    const removeListener = onAbort(signal, () => {
      this.waiting -= 1;
      if (this.waiting > 0) return;
      this.isAbandoned = true;
      this.controller.abort(signal.reason);
    });
    const spans = spansOf(signal);
    const unfollow = spans && this.spans.follow(spans);
    try {
      return await abortable(this.promise, signal, CANCEL_GRACE_MS);
    } finally {
      unfollow?.();
      removeListener();
      this.signals.delete(signal);
    }
  }
}
