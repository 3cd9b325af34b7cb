import { AppError } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';

/**
 * What `open` gives for as long as `signal` allows. A generator that waits for its next element hears of `return` only
 * with that element; so whoever leaves aborts its signal. Where the token has expired it ends with that error.
 * `release` is called once, however it ends.
 */
export function liveFeed<T>(
  signal: AbortSignal,
  open: (signal: AbortSignal) => AsyncGenerator<T>,
  release: () => void = () => undefined,
): AsyncIterableIterator<T> {
  const own = new AbortController();
  const removeListener = onAbort(signal, () => own.abort(signal.reason));
  const finish = (): void => {
    removeListener();
    own.abort();
    release();
  };
  let source: AsyncGenerator<T>;
  try {
    source = open(own.signal);
  } catch (error) {
    finish();
    throw error;
  }
  return {
    async next() {
      try {
        const result = await source.next();
        if (!result.done) return result;
      } catch (error) {
        finish();
        throw error;
      }
      finish();
      if (isExpiry(signal.reason)) throw signal.reason;
      return { done: true, value: undefined };
    },
    async return() {
      finish();
      await source.return(undefined);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function isExpiry(reason: unknown): reason is AppError {
  return reason instanceof AppError && reason.code === 'UNAUTHENTICATED';
}
