import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { assertPrivileges } from './privileges';
import { assertSession, sessionOptions } from './session-settings';
import { AuditSchema1764000000000 } from './migrations/1764000000000-audit-schema';
import { HeadRecordedAt1764100000000 } from './migrations/1764100000000-head-recorded-at';
import { TimestampSubmicros1764200000000 } from './migrations/1764200000000-timestamp-submicros';
import { AppendOnly1764300000000 } from './migrations/1764300000000-append-only';
import { AccessTicket1764400000000 } from './migrations/1764400000000-access-ticket';
import { IdempotencyScope1764500000000 } from './migrations/1764500000000-idempotency-scope';
import { FullerEvent1764600000000 } from './migrations/1764600000000-fuller-event';
import { IdempotencyRecord1764700000000 } from './migrations/1764700000000-idempotency-record';
import { SearchFunctions1765100000000 } from './migrations/1765100000000-search-functions';
import { TargetHashes1765200000000 } from './migrations/1765200000000-target-hashes';
import { EventSchemas1765300000000 } from './migrations/1765300000000-event-schemas';

/** Advisory lock key: "audt" in ASCII. */
const MIGRATION_LOCK = 0x61756474;
const LOCK_POLL_MS = 100;
/** Time after which a wait is logged: migrations take less, and the other process may hang. */
const WAIT_REPORT_MS = 3000;
const WAIT_REPEAT_MS = 60_000;

/** Migrations, oldest first. A released migration is never changed, but corrected by a later one. */
export const MIGRATIONS = [
  AuditSchema1764000000000,
  HeadRecordedAt1764100000000,
  TimestampSubmicros1764200000000,
  AppendOnly1764300000000,
  AccessTicket1764400000000,
  IdempotencyScope1764500000000,
  FullerEvent1764600000000,
  IdempotencyRecord1764700000000,
  SearchFunctions1765100000000,
  TargetHashes1765200000000,
  EventSchemas1765300000000,
];

/**
 * Migrates the database at `url`; resolves with the names of applied migrations. One replica migrates, the others wait.
 * The advisory lock belongs to a transaction, as the lock of a session would stay on a shared connection behind a pooler
 * in transaction mode. It is polled: waiting in PostgreSQL would hold a snapshot, which `CREATE INDEX CONCURRENTLY` waits
 * for.
 * @throws SessionSettingsError before anything is changed; Error when migrations are due that this role may not run.
 */
export async function runMigrations(givenUrl: string): Promise<string[]> {
  const { url, options } = sessionOptions(givenUrl);
  const guard = new Client({ connectionString: url, options });
  guard.on('error', () => undefined); // reported by the query
  await guard.connect();
  try {
    await assertSession(guard);
    let reportAtMs = performance.now() + WAIT_REPORT_MS;
    while (!(await tryLock(guard))) {
      if (performance.now() >= reportAtMs) {
        await reportWait(guard);
        reportAtMs = performance.now() + WAIT_REPEAT_MS;
      }
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
    const pending = await findPending(guard);
    if (pending.length === 0) return [];
    await assertMayMigrate(guard, pending);
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

/** Takes the lock in a transaction, which stays open. */
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

async function reportWait(client: Client): Promise<void> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1::bigint::oid
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [MIGRATION_LOCK],
  );
  const [holder] = rows;
  new Logger('Migrate').warn(
    `Another process migrates this database${holder ? ` (pid ${holder.pid} in pg_stat_activity)` : ''}: waiting for its end.`,
  );
}

async function findPending(client: Client): Promise<string[]> {
  const names = MIGRATIONS.map(({ name }) => name);
  const { rows: found } = await client.query<{ isThere: boolean; isReadable: boolean }>(
    `SELECT to_regclass('migrations') IS NOT NULL AS "isThere",
            coalesce(has_table_privilege(to_regclass('migrations')::oid, 'SELECT'), false) AS "isReadable"`,
  );
  if (found[0]?.isThere !== true) return names;
  if (!found[0].isReadable) await assertPrivileges(client); // names all that is missing
  const { rows } = await client.query<{ name: string }>('SELECT name FROM migrations');
  const applied = new Set(rows.map(({ name }) => name));
  return names.filter((name) => !applied.has(name));
}

/** Checks that the role owns the tables: a member of their owner (the maintenance role) would own those that it adds. */
async function assertMayMigrate(client: Client, pending: string[]): Promise<void> {
  const { rows } = await client.query<{ role: string; owner: string | null; may: boolean }>(
    `SELECT current_user::text AS role, c.relowner::regrole::text AS owner,
            r.rolsuper OR CASE WHEN c.oid IS NULL THEN has_schema_privilege(current_schema(), 'CREATE')
                               ELSE c.relowner = r.oid END AS may
     FROM pg_roles r LEFT JOIN pg_class c ON c.oid = to_regclass('migrations') WHERE r.rolname = current_user`,
  );
  const { role = '', owner, may } = rows[0] ?? {};
  if (may === true) return;
  const [what, by] =
    owner == null
      ? ['may not create tables', 'the role that is to own the tables']
      : ['does not own the tables', `the role ${owner}`];
  throw new Error(
    `The database lacks migrations (${pending.join(', ')}), and the role ${role} ${what}. Run "npm run migrate" (in the ` +
      `image "node dist/cli/migrate.js") with a DATABASE_URL of ${by}, then start again (docs/operations.md, "Three roles")`,
  );
}
