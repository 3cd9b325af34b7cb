import type { Pool, PoolClient } from 'pg';
import { abortablePromise, onAbort } from '../runtime/abort';
import { requestCancel } from './cancel-request';
import { toDatabaseError } from './database-errors';
import { statsOf } from './pool-stats';

/** A cancel between two statements of one work hits nothing: it is repeated until the work is over. */
const REPEAT_MS = 50;
/** A server that has not ended a cancelled statement by then is not heard of any more: its connection is dropped. */
const UNHEARD_MS = 3000;

/** Marks a connection that must not be used again; `cause` is what went wrong first. */
export class BrokenConnection extends Error {
  constructor(override readonly cause: unknown) {
    super('The connection is in an unknown state');
  }
}

/** What work may do with the connection that it was lent. */
export interface Lease {
  /**
   * Makes sure that what is sent from now on is not cancelled.
   * @throws the signal's reason when it has aborted: a cancel request may be on its way.
   */
  seal(): void;
  /** Gives the place of the connection in its pool to others, although work goes on with it. It is closed afterwards. */
  detach(): void;
}

const UNSIGNALLED = (): void => undefined;

/**
 * Lends a connection of `pool` for the time of `work`. One that was lost, or on which the server could not be reached,
 * is destroyed rather than handed to the next caller. Errors are passed on as they are. When `signal` aborts, the work
 * is cancelled in PostgreSQL and its reason thrown (cancellable.ts).
 */
export async function withConnection<T>(
  pool: Pool,
  work: (client: PoolClient, lease: Lease) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const client = await (signal ? connectUnlessAborted(() => acquire(pool), signal) : acquire(pool));
  // A connection that dies between two statements says so by an event; unheard, it would end the process.
  let lost: Error | undefined;
  const onError = (error: Error): void => {
    lost = error;
  };
  client.on('error', onError);
  let isLent = true;
  const giveBack = (isBroken: boolean): void => {
    if (!isLent) return;
    isLent = false;
    client.off('error', onError);
    client.release(isBroken || lost !== undefined);
  };
  try {
    const detach = (): void => giveBack(true);
    const result = await (signal
      ? withCancellation(client, (seal) => work(client, { seal, detach }), signal, onError)
      : work(client, { seal: UNSIGNALLED, detach }));
    giveBack(false);
    return result;
  } catch (error) {
    if (error instanceof BrokenConnection) {
      giveBack(true);
      throw error.cause;
    }
    giveBack(toDatabaseError(error).code === 'DATABASE_UNAVAILABLE');
    throw error;
  }
}

async function acquire(pool: Pool): Promise<PoolClient> {
  const startMs = performance.now();
  const meter = statsOf(pool);
  try {
    const client = await pool.connect();
    meter.record(performance.now() - startMs, true);
    return client;
  } catch (error) {
    meter.record(performance.now() - startMs, false);
    throw error;
  }
}

/**
 * The connection that `acquire` gets of a pool, unless the signal aborts while there is none: one that comes later goes straight back.
 * @throws the signal's reason.
 */
function connectUnlessAborted(
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
async function withCancellation<T>(
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
