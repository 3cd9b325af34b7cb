import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { assertSession, sessionOptions } from './session-settings';
import { AuditSchema1764000000000 } from './migrations/1764000000000-audit-schema';
import { HeadRecordedAt1764100000000 } from './migrations/1764100000000-head-recorded-at';
import { TimestampSubmicros1764200000000 } from './migrations/1764200000000-timestamp-submicros';

/** Advisory lock key: "audt" in ASCII. */
const MIGRATION_LOCK = 0x61756474;
const LOCK_POLL_MS = 100;

/** Migrations, oldest first. A released one is never changed, but corrected by a new one. */
export const MIGRATIONS = [
  AuditSchema1764000000000,
  HeadRecordedAt1764100000000,
  TimestampSubmicros1764200000000,
];

/**
 * Migrates the database at `url`; resolves with the names of applied migrations. One replica migrates, the others wait.
 * The advisory lock is a transaction's, as a session's would stay on a shared connection behind a pooler in transaction
 * mode. It is polled: waiting inside PostgreSQL would hold a snapshot that `CREATE INDEX CONCURRENTLY` waits for.
 * @throws SessionSettingsError before anything is changed.
 */
export async function runMigrations(givenUrl: string): Promise<string[]> {
  const { url, options } = sessionOptions(givenUrl);
  const guard = new Client({ connectionString: url, options });
  guard.on('error', () => undefined); // reported by the query
  await guard.connect();
  try {
    await assertSession(guard);
    while (!(await tryLock(guard))) {
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
    const dataSource = new DataSource({
      type: 'postgres',
      url,
      migrations: MIGRATIONS,
      extra: { options },
    });
    await dataSource.initialize();
    try {
      const applied = await dataSource.runMigrations({ transaction: 'each' });
      return applied.map(({ name }) => name);
    } finally {
      await dataSource.destroy();
    }
  } finally {
    await guard.query('ROLLBACK').catch(() => undefined); // releases the lock
    await guard.end();
  }
}

/** Keeps its transaction open with the lock. */
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
