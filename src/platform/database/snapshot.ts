import type { PoolClient } from 'pg';
import { BrokenConnection } from './connection-lease';

/** SQLSTATE of a statement that was cancelled, by a timeout or on request. */
const QUERY_CANCELED = '57014';

/**
 * Runs `work` on one snapshot of the database, which its first statement takes. Nothing is written.
 * @throws what `work` throws.
 */
export async function inSnapshot<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {
      throw new BrokenConnection(error); // cancelled itself, perhaps: the transaction may be open
    });
    throw error;
  }
}

/**
 * Runs one statement of a transaction for at most `timeoutMs`; undefined when that is over. The transaction goes on in
 * both cases, with its snapshot.
 * @throws what the statement throws; the error of PostgreSQL when `signal` cancelled it.
 */
export async function withinTime<T>(
  client: PoolClient,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
  statement: () => Promise<T>,
): Promise<T | undefined> {
  const limit = Math.max(1, Math.floor(timeoutMs));
  // One round trip: pg sends them together.
  const sent = [
    client.query('SAVEPOINT within_time'),
    client.query(`SET LOCAL statement_timeout = ${limit}`),
    statement(),
  ] as const;
  for (const one of sent) one.catch(() => undefined); // awaited below, unless another one has failed
  try {
    const result = (await Promise.all(sent))[2];
    await client.query('RELEASE SAVEPOINT within_time');
    return result;
  } catch (error) {
    if (signal?.aborted || (error as { code?: unknown }).code !== QUERY_CANCELED) throw error;
    await client.query('ROLLBACK TO SAVEPOINT within_time');
    return undefined;
  }
}
