import type { ServerResponse } from 'node:http';
import { onAbort } from './abort';

/** For a client that is slow to read the end of an ended response. */
const ENDING_MS = 2000;

/**
 * Resolves when the client has taken what was written, or is gone. One that takes nothing for `timeoutMs` is
 * disconnected, and within ENDING_MS once `ended` aborts, as nothing more will come.
 */
export async function waitForDrain(
  response: ServerResponse,
  timeoutMs: number,
  ended?: AbortSignal,
): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    const disconnect = (): void => {
      response.destroy();
      done();
    };
    let timer = setTimeout(disconnect, timeoutMs);
    const removeListener = onAbort(ended, () => {
      clearTimeout(timer);
      timer = setTimeout(disconnect, Math.min(ENDING_MS, timeoutMs));
    });
    const done = (): void => {
      clearTimeout(timer);
      response.off('drain', done).off('close', done);
      removeListener();
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
