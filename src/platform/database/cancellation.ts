import type { PoolClient } from 'pg';
import { abortablePromise, onAbort } from '../runtime/abort';
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
export function connectUnlessAborted(
  acquire: () => Promise<PoolClient>,
  signal: AbortSignal,
): Promise<PoolClient> {
  return abortablePromise(signal, (resolve, reject) => {
    let isCancelled = false;
    acquire().then((client) => {
      if (isCancelled) client.release();
      else resolve(client);
    }, reject);
    return (reason) => {
      isCancelled = true;
      return reason;
    };
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
  let removeListener = (): void => undefined;
  const unheard = new Promise<never>((_, reject) => {
    removeListener = onAbort(signal, () => {
      state.cancelling = cancelUntil(client, () => state.isOver);
      giveUp = setTimeout(() => reject(new BrokenConnection(signal.reason)), UNHEARD_MS);
    });
  });
  const seal = (): void => {
    signal.throwIfAborted();
    removeListener();
  };
  try {
    return await Promise.race([work(seal), unheard]);
  } catch (error) {
    throw isCancellation(error) && signal.aborted ? signal.reason : error;
  } finally {
    state.isOver = true;
    removeListener();
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
