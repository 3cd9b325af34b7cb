import { onAbort } from './abort';

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
  const timer = setTimeout(() => controller.abort(late()), timeoutMs).unref();
  const removeListener = onAbort(signal, () => controller.abort(signal?.reason));
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    removeListener();
  }
}
