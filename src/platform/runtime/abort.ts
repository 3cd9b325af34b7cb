import { attachSpans, spansOf } from './time-spans';

/** The signal's reason as an Error, usually an AppError. */
export function abortReason(signal: AbortSignal): Error {
  const { reason } = signal as { reason: unknown };
  return reason instanceof Error ? reason : new Error(String(reason));
}

const DEADLINE = Symbol('deadline');
type Timed = AbortSignal & { [DEADLINE]?: () => number };

/** Notes when a signal aborts at the latest, on the clock of performance.now(): work may end before, with a part. */
export function attachDeadline(signal: Timed, deadlineMs: () => number): void {
  signal[DEADLINE] = deadlineMs;
}

/** The noted deadline; Infinity without one. */
export function deadlineOf(signal: Timed | undefined): number {
  return signal?.[DEADLINE]?.() ?? Infinity;
}

/**
 * Calls `listener` once on abort, at once when already aborted.
 * @returns a function that removes it: a signal may outlive thousands of waits.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted) listener();
  else signal?.addEventListener('abort', listener, { once: true });
  return () => signal?.removeEventListener('abort', listener);
}

/**
 * The result of `work`, or the signal's reason on abort, `graceMs` later for work that the same signal ends. The work
 * goes on.
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal, graceMs = 0): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const giveUp = (): void => reject(abortReason(signal));
    const removeListener = onAbort(signal, () => {
      if (graceMs > 0) timer = setTimeout(giveUp, graceMs);
      else giveUp();
    });
    const end = (): void => {
      clearTimeout(timer);
      removeListener();
    };
    work.finally(end).then(resolve, reject);
  });
}

/** Shared work usually takes a millisecond; a signal for each caller costs more. */
const LAZY_MS = 100;

/** As `abortable`, for shared work: `signal` is called only after LAZY_MS. */
export function abortableLazily<T>(work: Promise<T>, signal: () => AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      abortable(work, signal()).then(resolve, reject);
    }, LAZY_MS);
    work.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}

/**
 * A promise whose executor returns the abort handler, which gives the error, or undefined to go on waiting. An aborted
 * signal rejects before the executor is called.
 */
export function abortablePromise<T>(
  signal: AbortSignal | undefined,
  executor: (
    resolve: (value: T) => void,
    reject: (error: Error) => void,
  ) => (reason: Error) => Error | undefined,
): Promise<T> {
  if (!signal) return new Promise(executor);
  if (signal.aborted) return Promise.reject(abortReason(signal));
  return new Promise((resolve, reject) => {
    const forget = (): void => signal.removeEventListener('abort', abort);
    const cancel = executor(
      (value) => {
        forget();
        resolve(value);
      },
      (error) => {
        forget();
        reject(error);
      },
    );
    function abort(): void {
      const error = cancel(abortReason(signal as AbortSignal));
      if (error) reject(error);
    }
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** Result of `withTimeout` after the timeout. */
export const TIMED_OUT = Symbol('timed out');

/** Delay of a timer that shows that this process was busy itself. */
const LATE_MS = 10;
const EXTENSION_MS = 25;

/**
 * The result of `work`, or TIMED_OUT after `timeoutMs`; the work goes on. A process too busy to send the question or to
 * read the answer gets 25 ms more, once.
 */
export async function withTimeout<T>(
  work: Promise<T>,
  timeoutMs: number,
): Promise<T | typeof TIMED_OUT> {
  let timer: NodeJS.Timeout | undefined;
  const dueMs = performance.now() + timeoutMs;
  const timeout = new Promise<typeof TIMED_OUT>((resolve) => {
    const expire = () => resolve(TIMED_OUT);
    timer = setTimeout(() => {
      if (performance.now() < dueMs + LATE_MS) expire();
      else timer = setTimeout(expire, EXTENSION_MS).unref();
    }, timeoutMs).unref();
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends work with the error of `late` after `timeoutMs`, or with the signal's reason. */
interface Deadline {
  timeoutMs: number;
  late: () => Error;
  signal?: AbortSignal;
}

/** Runs `work` with a signal that aborts at the deadline; ending is up to it. */
export async function withDeadline<T>(
  { timeoutMs, late, signal }: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  attachSpans(controller.signal, spansOf(signal));
  const ownMs = performance.now() + timeoutMs;
  attachDeadline(controller.signal, () => Math.min(ownMs, deadlineOf(signal)));
  const timer = setTimeout(() => controller.abort(late()), timeoutMs).unref();
  const removeListener = onAbort(signal, () => controller.abort(signal?.reason));
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    removeListener();
  }
}
