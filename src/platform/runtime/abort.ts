/** The reason of an aborted signal, as an Error; the signals of this service carry an AppError. */
export function abortReason(signal: AbortSignal): Error {
  const { reason } = signal as { reason: unknown };
  return reason instanceof Error ? reason : new Error(String(reason));
}

/**
 * Calls `listener` once, when the signal aborts; at once when it already has.
 * @returns what removes the listener: a signal may outlive thousands of waits.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted) listener();
  else signal?.addEventListener('abort', listener, { once: true });
  return () => signal?.removeEventListener('abort', listener);
}

/**
 * The result of `work`; rejects with the signal's reason when that aborts first. `graceMs` after the abort is for work
 * that the same signal ends: its caller then hears of the end when it is over. The work itself goes on.
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
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: Error) => {
        end();
        reject(error);
      },
    );
  });
}

/** Most shared work takes a millisecond: a signal for each of its callers would cost more than the work. */
const LAZY_MS = 100;

/** As `abortable`, for work that many share: `signal` is made, and listened to, only when the work takes long. */
export function abortableLazily<T>(work: Promise<T>, signal: () => AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      abortable(work, signal()).then(resolve, reject);
    }, LAZY_MS);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: Error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/**
 * A promise whose executor returns what is called when the signal aborts first: it gives the error to reject with, or
 * undefined to go on waiting. An aborted signal rejects before the executor is called.
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
