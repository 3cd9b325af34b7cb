import type { Observable } from 'rxjs';
import { AppError } from '../platform/errors/app-error';
import { onAbort } from '../platform/runtime/abort';

/** Waiting values of a slow reader; alerts and invalidations come a few an hour. */
const MAX_WAITING = 1000;

/**
 * Values of `source` from this call on, until `signal` aborts.
 * @throws AppError SLOW_CONSUMER, from the iteration, when too many wait.
 */
export function valuesOf<T>(source: Observable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const waiting: T[] = [];
  let wake: () => void = () => undefined;
  const subscription = source.subscribe((value) => {
    if (waiting.length <= MAX_WAITING) waiting.push(value);
    wake();
  });
  const stop = (): void => {
    subscription.unsubscribe();
    wake();
  };
  const removeListener = onAbort(signal, stop);
  return (async function* () {
    try {
      while (!signal.aborted) {
        if (waiting.length > MAX_WAITING) {
          throw new AppError('SLOW_CONSUMER', 'Messages came faster than they were read.');
        }
        const value = waiting.shift();
        if (value !== undefined) yield value;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      removeListener();
      stop();
    }
  })();
}
