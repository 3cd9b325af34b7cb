import type { Pool, PoolClient } from 'pg';
import { BrokenConnection } from './broken-connection';
import { withCancellation, connectUnlessAborted } from './cancellation';
import { toDatabaseError } from './database-errors';
import { statsOf } from './pool-stats';

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
