import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { AuditSchema1764000000000 } from './migrations/1764000000000-audit-schema';
import { HeadRecordedAt1764100000000 } from './migrations/1764100000000-head-recorded-at';

/** Any fixed number will do; this one is ours ("audt" in ASCII). */
const MIGRATION_LOCK = 0x61756474;
const LOCK_POLL_MS = 100;

/** Every migration, oldest first. A released one is never changed: mend it with a new one. */
export const MIGRATIONS = [AuditSchema1764000000000, HeadRecordedAt1764100000000];

/**
 * Brings the database at `url` to the newest schema, and gives the names of the migrations that this took.
 * Safe with several replicas starting at once: one migrates, the
 * others wait. The advisory lock is that of a transaction, so that it works through a pooler in transaction mode, too,
 * where a lock of the session would stay behind on a connection that somebody else gets. It is polled, because waiting
 * inside PostgreSQL would hold a snapshot that `CREATE INDEX CONCURRENTLY` in turn waits for; between its statements
 * a transaction of READ COMMITTED holds none.
 */
export async function runMigrations(url: string): Promise<string[]> {
  const guard = new Client({ connectionString: url });
  guard.on('error', () => undefined); // the query below reports it
  await guard.connect();
  try {
    while (!(await tryLock(guard))) {
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
    const dataSource = new DataSource({ type: 'postgres', url, migrations: MIGRATIONS });
    await dataSource.initialize();
    try {
      const applied = await dataSource.runMigrations({ transaction: 'each' });
      return applied.map(({ name }) => name);
    } finally {
      await dataSource.destroy();
    }
  } finally {
    await guard.query('ROLLBACK').catch(() => undefined); // releases the lock; without a connection, so did its end
    await guard.end();
  }
}

/** Holds the lock from then on, in a transaction that is open; or nothing at all. */
async function tryLock(client: Client): Promise<boolean> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
  await client.query('SET LOCAL idle_in_transaction_session_timeout = 0');
  const { rows } = await client.query<{ locked: boolean }>(
    'SELECT pg_try_advisory_xact_lock($1) AS locked',
    [MIGRATION_LOCK],
  );
  if (rows[0]?.locked === true) return true;
  await client.query('ROLLBACK');
  return false;
}
