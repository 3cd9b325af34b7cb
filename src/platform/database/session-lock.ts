import type { ClientBase } from 'pg';

/**
 * Runs `work` while this connection holds an advisory lock, or not at all when another connection, here or in another
 * replica, holds it. The lock is the session's: it is gone with the process or the connection, and holds no snapshot
 * and no transaction that concurrent work would wait for.
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
    // The server has done so for a lost connection.
    await client.query('SELECT pg_advisory_unlock($1)', [key]).catch(() => undefined);
  }
}
