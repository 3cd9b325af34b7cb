import type { PoolClient } from 'pg';
import { toDatabaseError } from './database-errors';
import { requestCancel } from './cancel-request';
import { BrokenConnection } from './broken-connection';

/** A cancel between two statements of one work hits nothing: it is repeated until the work is over. */
const REPEAT_MS = 50;
/** A server that has not ended a cancelled statement by then is not heard of any more: its connection is dropped. */
const UNHEARD_MS = 3000;

/**
 * The connection that `acquire` gets of a pool, unless the signal aborts while there is none: one that comes later goes straight back.
 * @throws the signal's reason.
 */
export async function connectUnlessAborted(
  acquire: () => Promise<PoolClient>,
  signal: AbortSignal,
): Promise<PoolClient> {
  signal.throwIfAborted();
  const connecting = acquire();
  return new Promise((resolve, reject) => {
    let hasLeft = false;
    const leave = (): void => {
      hasLeft = true;
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', leave, { once: true });
    connecting.then(
      (client) => {
        signal.removeEventListener('abort', leave);
        if (hasLeft) client.release();
        else resolve(client);
      },
      (error: Error) => {
        signal.removeEventListener('abort', leave);
        reject(error);
      },
    );
  });
}

/**
 * Runs `work` on a connection that is its own until this settles, and cancels it in PostgreSQL when the signal aborts.
 * It settles only when both the work and every cancel are over, so that no cancel can hit whoever uses the connection
 * next; when one of them may still be on its way, `onDoubt` is told, and nobody may use it next. Work calls `seal` before
 * it sends what must not be cancelled, a commit above all: from then on no cancel is requested, and when one may have been
 * requested already, `seal` throws the signal's reason instead.
 * @throws the signal's reason for work that the cancel ended.
 */
export async function withCancellation<T>(
  client: PoolClient,
  work: (seal: () => void) => Promise<T>,
  signal: AbortSignal,
  onDoubt: (error: Error) => void,
): Promise<T> {
  signal.throwIfAborted();
  const state: { isOver: boolean; cancelling?: Promise<boolean> } = { isOver: false };
  let giveUp: NodeJS.Timeout | undefined;
  let onAbort = (): void => undefined;
  const unheard = new Promise<never>((_, reject) => {
    onAbort = () => {
      state.cancelling = cancelUntil(client, () => state.isOver);
      giveUp = setTimeout(() => reject(new BrokenConnection(signal.reason)), UNHEARD_MS);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const seal = (): void => {
    signal.throwIfAborted();
    signal.removeEventListener('abort', onAbort);
  };
  try {
    return await Promise.race([work(seal), unheard]);
  } catch (error) {
    throw isCancellation(error) && signal.aborted ? signal.reason : error;
  } finally {
    state.isOver = true;
    signal.removeEventListener('abort', onAbort);
    clearTimeout(giveUp);
    if ((await state.cancelling) === false) {
      onDoubt(new Error('A cancel request that was not answered may still hit this connection'));
    }
  }
}

/** False when a cancel may come later. */
async function cancelUntil(client: PoolClient, isOver: () => boolean): Promise<boolean> {
  let areAnswered = true;
  while (!isOver()) {
    if (!(await requestCancel(client))) areAnswered = false;
    for (let waitedMs = 0; waitedMs < REPEAT_MS && !isOver(); waitedMs += 5) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  return areAnswered;
}

function isCancellation(error: unknown): boolean {
  return toDatabaseError(error).code === 'REQUEST_TIMEOUT';
}

/** Rejects with the reason of the signal when that aborts. */
export function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
