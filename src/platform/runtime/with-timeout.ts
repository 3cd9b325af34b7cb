/** What `within` answers when the time is over. */
export const TIMED_OUT = Symbol('timed out');

/** A timer that fires this much too late tells that this process was busy itself. */
const LATE_MS = 10;
const EXTENSION_MS = 25;

/**
 * What `work` comes to, or TIMED_OUT after `timeoutMs`. The work itself goes on; how it then ends is nobody's concern.
 * Rejects when the work rejects in time. A process that was too busy to send the question or to read the answer has
 * nobody else to blame: it takes 25 ms more, once.
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
