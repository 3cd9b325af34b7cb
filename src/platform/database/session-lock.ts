import type { ClientBase } from 'pg';

/**
 * Runs `work` under an advisory lock of the session. It ends with the process or the connection, and unlike a
 * transaction has no snapshot for which other work would have to wait.
 * @returns undefined when another connection, here or in another replica, holds the lock.
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
    // The server releases the lock of a lost connection.
    await client.query('SELECT pg_advisory_unlock($1)', [key]).catch(() => undefined);
  }
}
