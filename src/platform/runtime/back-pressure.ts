import type { ServerResponse } from 'node:http';
import { onAbort } from './abort';

/** Time for a slow client to read the end of a response. */
const ENDING_MS = 2000;

/**
 * Resolves when the client has read the buffered bytes of a response, or is gone. A client that reads none is
 * disconnected after `timeoutMs`, and within ENDING_MS once `ended` aborts.
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
