import type { ClientBase } from 'pg';

/**
 * Runs `work` while this connection holds an advisory lock, or not at all when another connection, here or in another
 * replica, holds it. The lock belongs to the session: it is gone when the process or the connection is, and it holds no
 * snapshot and no transaction, so nothing that works concurrently waits for it.
 * @returns undefined when the lock is taken.
 */
export async function withSessionLock<T>(
  client: ClientBase,
  key: number,
  work: () => Promise<T>,
): Promise<{ result: T } | undefined> {
  const { rows } = await client.query<{ locked: boolean }>(
    'SELECT pg_try_advisory_lock($1) AS locked',
    [key],
  );
  if (rows[0]?.locked !== true) return undefined;
  try {
    return { result: await work() };
  } finally {
    // On a connection that is lost the server has done so already.
    await client.query('SELECT pg_advisory_unlock($1)', [key]).catch(() => undefined);
  }
}
