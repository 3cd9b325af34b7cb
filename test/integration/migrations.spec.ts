import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { MIGRATIONS, runMigrations } from '../../src/database/migrate';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

const TABLES = [
  'audit_client_event_id',
  'audit_event',
  'audit_organization',
  'idempotency_key',
  'service_secret',
];

describe('the migrations', () => {
  let test: TestDatabase;
  let client: Client;

  beforeAll(async () => {
    test = await createTestDatabase();
    client = new Client({ connectionString: test.url });
    await client.connect();
  });

  afterAll(async () => {
    await client?.end();
    await test?.drop();
  });

  beforeEach(async () => {
    await client.query('DROP SCHEMA public CASCADE');
    await client.query('CREATE SCHEMA public');
  });

  async function tables(): Promise<string[]> {
    const { rows } = await client.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1`,
    );
    return rows.map(({ name }) => name).filter((name) => name !== 'migrations');
  }

  async function withDataSource<T>(work: (dataSource: DataSource) => Promise<T>): Promise<T> {
    const dataSource = new DataSource({ type: 'postgres', url: test.url, migrations: MIGRATIONS });
    await dataSource.initialize();
    try {
      return await work(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }

  it('run once when several replicas start on an empty database', async () => {
    await Promise.all(Array.from({ length: 5 }, () => runMigrations(test.url)));
    expect(await tables()).toEqual(TABLES);
    const { rowCount } = await client.query('SELECT FROM migrations');
    expect(rowCount).toBe(MIGRATIONS.length);
    const secrets = await client.query('SELECT FROM service_secret');
    expect(secrets.rowCount).toBe(1);
  });

  it('leave nothing pending and change nothing when run again', async () => {
    await runMigrations(test.url);
    const before = await client.query('SELECT * FROM service_secret');
    expect(await withDataSource((dataSource) => dataSource.showMigrations())).toBe(false);
    await runMigrations(test.url);
    expect((await client.query('SELECT * FROM service_secret')).rows).toEqual(before.rows);
  });

  it('can be undone and done again', async () => {
    await runMigrations(test.url);
    await client.query(
      `CREATE TABLE audit_event_202601 PARTITION OF audit_event
       FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')`,
    );
    await withDataSource(async (dataSource) => {
      for (let undone = 0; undone < MIGRATIONS.length; undone += 1) {
        await dataSource.undoLastMigration({ transaction: 'each' });
      }
    });
    expect(await tables()).toEqual([]);
    await runMigrations(test.url);
    expect(await tables()).toEqual(TABLES);
  });

  it('leave no lock and no connection behind', async () => {
    await runMigrations(test.url);
    const { rows } = await client.query(
      `SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
       WHERE l.locktype = 'advisory' AND d.datname = current_database()`,
    );
    expect(rows).toEqual([]);
  });

  it('let the next replica migrate when the one that holds the lock dies', async () => {
    const dying = new Client({ connectionString: test.url });
    dying.on('error', () => undefined);
    await dying.connect();
    await dying.query('SELECT pg_advisory_lock($1)', [0x61756474]);
    const waiting = runMigrations(test.url);
    await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    await waiting;
    expect(await tables()).toEqual(TABLES);
  });
});
