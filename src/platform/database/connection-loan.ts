import type { Pool, PoolClient } from 'pg';
import { abortablePromise, onAbort } from '../runtime/abort';
import { requestCancel } from './cancel-request';
import { toDatabaseError } from './database-errors';
import { statsOf } from './pool-stats';

/** A cancel between two statements of one work hits nothing: it is repeated until the work is over. */
const REPEAT_MS = 50;
/** A server that has not ended a cancelled statement by then is taken for silent: its connection is dropped. */
const UNHEARD_MS = 3000;

/** Marks a connection that must not be used again; `cause` is the first fault. */
export class BrokenConnection extends Error {
  constructor(override readonly cause: unknown) {
    super('The connection is in an unknown state');
  }
}

/** What work may do with its connection. */
export interface Lease {
  /**
   * Excludes what is sent from now on from cancellation.
   * @throws the signal's reason when it has aborted: a cancel request may be under way.
   */
  seal(): void;
  /** Frees the slot of the connection in its pool, although work goes on with it. It is closed afterwards. */
  detach(): void;
}

const NO_SEAL = (): void => undefined;

/**
 * Runs `work` on a connection of `pool`. A broken one is destroyed rather than reused. Errors are rethrown as they are.
 * When `signal` aborts, the work is cancelled in PostgreSQL and the signal's reason thrown.
 */
export async function withConnection<T>(
  pool: Pool,
  work: (client: PoolClient, lease: Lease) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const client = await (signal ? connectUnlessAborted(() => acquire(pool), signal) : acquire(pool));
  // A connection that dies between two statements emits an error, which would end the process.
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
      : work(client, { seal: NO_SEAL, detach }));
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
  const stats = statsOf(pool);
  try {
    const client = await pool.connect();
    stats.record(performance.now() - startMs, true);
    return client;
  } catch (error) {
    stats.record(performance.now() - startMs, false);
    throw error;
  }
}

/**
 * A connection of the pool, unless the signal aborts first: one that comes later goes straight back.
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
 * Runs `work` on its connection, and cancels it in PostgreSQL when the signal aborts. It settles only when the work and
 * every cancel request are over, so that none can hit the next user of the connection; after `onUnanswered` one may
 * still arrive, and the connection must not be reused. `seal` comes before what must not be cancelled, a commit above
 * all: from then on no cancel is requested, and it throws the signal's reason when one may have been.
 * @throws the signal's reason for work that the cancel ended.
 */
async function withCancellation<T>(
  client: PoolClient,
  work: (seal: () => void) => Promise<T>,
  signal: AbortSignal,
  onUnanswered: (error: Error) => void,
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
      onUnanswered(
        new Error('A cancel request that was not answered may still hit this connection'),
      );
    }
  }
}

/** False when a cancel request may still arrive. */
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
