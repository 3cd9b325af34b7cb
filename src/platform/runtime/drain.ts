import type { ServerResponse } from 'node:http';

/** What is left of the patience with a reader once there is nothing more to tell him. */
const ENDING_MS = 2000;

/**
 * Resolves when the client has taken what was written, or is gone. One that takes nothing for `timeoutMs` is cut, and
 * sooner when `ended` aborts: nothing more will come, and nobody can tell him so.
 */
export async function waitForDrain(
  response: ServerResponse,
  timeoutMs: number,
  ended?: AbortSignal,
): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    const cut = (): void => {
      response.destroy();
      done();
    };
    let timer = setTimeout(cut, timeoutMs);
    const onEnd = (): void => {
      clearTimeout(timer);
      timer = setTimeout(cut, Math.min(ENDING_MS, timeoutMs));
    };
    const done = (): void => {
      clearTimeout(timer);
      response.off('drain', done).off('close', done);
      ended?.removeEventListener('abort', onEnd);
      resolve();
    };
    response.on('drain', done).on('close', done);
    if (ended?.aborted) onEnd();
    else ended?.addEventListener('abort', onEnd, { once: true });
  });
}
