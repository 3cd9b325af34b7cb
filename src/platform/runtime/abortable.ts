import { abortable } from './abort';

/** What usually takes a millisecond is not worth a signal of its own until it has taken this long. */
const PROMPT_MS = 100;

/**
 * What `work` comes to. When it is not done soon, the signal is asked for, and its reason thrown when it aborts first:
 * for work that many share and that takes less time than making a signal for each of them is worth.
 */
export function abortableLazily<T>(work: Promise<T>, signal: () => AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      abortable(work, signal()).then(resolve, reject);
    }, PROMPT_MS);
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
