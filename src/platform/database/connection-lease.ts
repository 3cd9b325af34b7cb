import { connect } from 'node:net';
import { Pool, type PoolClient } from 'pg';
import { toDatabaseError } from './database-errors';
import { statsOf } from './database-statistics';
import { abortablePromise, onAbort } from '../runtime/abort';
import { during, spansOf } from '../runtime/time-spans';

/** Interval of cancel requests, which are repeated as one between two statements has no effect. */
const REPEAT_MS = 50;
/** Time after which a server that ignores cancel requests is given up. */
const UNHEARD_MS = 3000;

/** Error that forbids reuse of its connection; `cause` is the first fault. */
export class BrokenConnection extends Error {
  constructor(override readonly cause: unknown) {
    super('The connection is in an unknown state');
  }
}

/** Control of a connection by the work of withConnection. */
export interface Lease {
  /**
   * Excludes later statements from cancellation: called before a commit.
   * @throws the signal's reason when it has aborted, as a cancel request may be under way.
   */
  forbidCancel(): void;
  /** Frees the slot in the pool. The work keeps the connection, which is closed afterwards. */
  detach(): void;
}

const NEVER_CANCELLED = (): void => undefined;

/**
 * Runs `work` on a connection of `pool`, and destroys the connection when it is broken. `spans`, by default those of the
 * signal, measure the wait for the connection and the work.
 * @throws errors unchanged; the signal's reason when it aborts, after the work was cancelled in PostgreSQL.
 */
export async function withConnection<T>(
  pool: Pool,
  work: (client: PoolClient, lease: Lease) => Promise<T>,
  signal?: AbortSignal,
  spans = spansOf(signal),
): Promise<T> {
  const client = await during(spans, 'connection', () =>
    signal ? connectUnlessAborted(() => acquire(pool), signal) : acquire(pool),
  );
  // A connection lost between two statements emits an error, which would end the process.
  let lost: Error | undefined;
  const onError = (error: Error): void => {
    lost = error;
  };
  client.on('error', onError);
  let isLeased = true;
  const giveBack = (isBroken: boolean): void => {
    if (!isLeased) return;
    isLeased = false;
    client.off('error', onError);
    client.release(isBroken || lost !== undefined);
  };
  try {
    const detach = (): void => giveBack(true);
    const result = await during(spans, 'sql', () =>
      signal
        ? withCancellation(
            client,
            (forbidCancel) => work(client, { forbidCancel, detach }),
            signal,
            onError,
          )
        : work(client, { forbidCancel: NEVER_CANCELLED, detach }),
    );
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
 * Resolves with a connection; a connection that arrives after an abort returns to the pool.
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
 * Cancels `work` in PostgreSQL when the signal aborts. Settles only after the work and every cancel request, so that
 * no request can hit the next user of the connection. `onUnanswered` is called when a request may still arrive: the
 * connection must not be reused then.
 * @throws the signal's reason for work that the cancel ended.
 */
async function withCancellation<T>(
  client: PoolClient,
  work: (forbidCancel: () => void) => Promise<T>,
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
  const forbidCancel = (): void => {
    signal.throwIfAborted();
    removeListener();
  };
  try {
    return await Promise.race([work(forbidCancel), unheard]);
  } catch (error) {
    throw isCancellation(error) && signal.aborted ? signal.reason : error;
  } finally {
    state.isOver = true;
    removeListener();
    clearTimeout(giveUp);
    if ((await state.cancelling) === false) {
      onUnanswered(new Error('An unanswered cancel request may still hit this connection'));
    }
  }
}

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

/** Time of a cancel request; a server that takes longer does not end the statement either. */
const CANCEL_TIMEOUT_MS = 1000;

const CANCEL_REQUEST_CODE = 80877102;

interface Backend {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
}

/**
 * Cancels the running statement of a connection by the protocol's cancel request, which needs no login, privilege or
 * free connection, and works on replicas. Resolves once the server has sent the signal; never rejects. A connection
 * without a running statement is not affected.
 * @returns false when the server did not answer: the request may arrive later, during another statement.
 */
export function requestCancel(client: PoolClient): Promise<boolean> {
  const { host, port, processID, secretKey } = client as unknown as Backend;
  if (processID === null || secretKey === null) return Promise.resolve(true);
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  return new Promise((resolve) => {
    const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    socket.setTimeout(CANCEL_TIMEOUT_MS, () => socket.destroy());
    socket.on('error', () => undefined); // 'close' follows
    let isAnswered = false;
    socket.on('end', () => (isAnswered = true));
    socket.on('close', () => resolve(isAnswered));
    socket.resume(); // 'end' is emitted to a reader only
    socket.write(message);
  });
}
