/** What is behind an aborted signal, as an Error; the signals of this service carry an AppError. */
export function abortReason(signal: AbortSignal): Error {
  const { reason } = signal as { reason: unknown };
  return reason instanceof Error ? reason : new Error(String(reason));
}

/**
 * What `work` comes to; rejects with the signal's reason when that aborts first. `graceMs` after the abort is for work
 * that the signal also ends: it is over when the caller is told. The work itself goes on, its end is nobody's concern.
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal, graceMs = 0): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    const giveUp = (): void => reject(abortReason(signal));
    const leave = (): void => {
      if (ended) return;
      if (graceMs > 0) timer = setTimeout(giveUp, graceMs);
      else giveUp();
    };
    const end = (): void => {
      ended = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    };
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
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
