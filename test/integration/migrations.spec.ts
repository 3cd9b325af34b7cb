import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { MIGRATIONS, runMigrations } from '../../src/platform/database/migrate';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { until } from './until.fixture';

const TABLES = [
  'access_ticket',
  'audit_client_event_id',
  'audit_event',
  'audit_organization',
  'audit_schema',
  'audit_schema_setting',
  'idempotency_record',
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

  async function withDataSource<T>(
    work: (dataSource: DataSource) => Promise<T>,
    migrations = MIGRATIONS,
  ): Promise<T> {
    const dataSource = new DataSource({ type: 'postgres', url: test.url, migrations });
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
    expect(secrets.rowCount).toBe(2);
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

  it('tell that they wait for another process, and for which session', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
    const { rows } = await client.query<{ pid: number }>(
      'SELECT pg_backend_pid() AS pid FROM pg_advisory_lock($1)',
      [0x61756474],
    );
    const waiting = runMigrations(test.url);
    await until(() => Promise.resolve(warn.mock.calls.length > 0));
    await client.query('SELECT pg_advisory_unlock_all()');
    await waiting;
    expect(warn.mock.calls).toEqual([
      [
        `Another process migrates this database (pid ${rows[0]?.pid} in pg_stat_activity): waiting for its end.`,
      ],
    ]);
    warn.mockRestore();
  });

  describe('of a database in use', () => {
    /** Moves heads on as the first release does. */
    const ADVANCE = {
      name: 'advance-heads',
      text: `INSERT INTO audit_organization AS o (organization_id, last_sequence)
             SELECT * FROM unnest($1::text[], $2::bigint[])
             ON CONFLICT (organization_id) DO UPDATE SET last_sequence = o.last_sequence + excluded.last_sequence
             RETURNING organization_id, last_sequence::text, clock_timestamp()::text AS recorded_at`,
    };
    let writer: Client;

    beforeEach(async () => {
      await withDataSource(
        (dataSource) => dataSource.runMigrations({ transaction: 'each' }),
        MIGRATIONS.slice(0, 1),
      );
      writer = new Client({ connectionString: test.url });
      await writer.connect();
      await writer.query({
        ...ADVANCE,
        values: [
          ['a', 'b'],
          [1, 2],
        ],
      });
    });
    afterEach(() => writer.end());

    it('write no row anew, and older replicas go on', async () => {
      const fileOf = async () =>
        (await client.query(`SELECT pg_relation_filenode('audit_organization') AS file`)).rows;
      const before = await fileOf();
      await runMigrations(test.url);
      expect(await fileOf()).toEqual(before);
      await writer.query({
        ...ADVANCE,
        values: [
          ['b', 'c'],
          [3, 4],
        ],
      });
      const { rows } = await client.query(
        'SELECT organization_id AS id, last_sequence, recorded_at::text FROM audit_organization ORDER BY 1',
      );
      expect(rows).toEqual([
        { id: 'a', last_sequence: '1', recorded_at: '-infinity' },
        { id: 'b', last_sequence: '5', recorded_at: '-infinity' },
        { id: 'c', last_sequence: '4', recorded_at: '-infinity' },
      ]);
    });

    it('add the digits of a timestamp to partitions of which older replicas go on writing', async () => {
      await client.query(
        `CREATE TABLE audit_event_202601 PARTITION OF audit_event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')`,
      );
      const record = (sequence: number) =>
        writer.query({
          name: 'older-insert',
          text: `INSERT INTO audit_event (organization_id, timestamp, id, action, status, data_classification, sequence, recorded_at)
                 VALUES ('a', '2026-01-15T00:00:00.123456Z', gen_random_uuid(), 'a', 'success', 'INTERNAL', $1, now())`,
          values: [sequence],
        });
      await record(1);
      const fileOf = async () =>
        (await client.query(`SELECT pg_relation_filenode('audit_event_202601') AS file`)).rows;
      const before = await fileOf();
      await runMigrations(test.url);
      expect(await fileOf()).toEqual(before);
      await record(2);
      const { rows } = await client.query(
        'SELECT sequence, timestamp_submicros AS digits FROM audit_event ORDER BY sequence',
      );
      expect(rows).toEqual([
        { sequence: '1', digits: null },
        { sequence: '2', digits: null },
      ]);
    });

    it('let older replicas go on with the idempotency keys, on connections that know them', async () => {
      const find = (key: string) =>
        writer.query({
          name: 'idempotency-find',
          text: `SELECT k.* FROM unnest($1::text[], $2::text[]) AS t (subject, key)
                 JOIN idempotency_key k ON k.subject = t.subject COLLATE "C" AND k.key = t.key COLLATE "C"`,
          values: [['s'], [key]],
        });
      const store = (key: string) =>
        writer.query({
          name: 'idempotency-store',
          text: `INSERT INTO idempotency_key (subject, key, request_hash, status, location, body)
                 SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::text[])`,
          values: [['s'], [key], [Buffer.from('hash')], [201], [null], [`body of ${key}`]],
        });
      await find('before');
      await store('before');
      await runMigrations(test.url);
      await store('after');
      await client.query(
        `INSERT INTO idempotency_record (subject, key, request_hash, status, body, scope)
         VALUES ('s', 'newer', 'hash', 201, 'body of newer', 'scope')`,
      );
      for (const key of ['before', 'after', 'newer']) {
        expect((await find(key)).rows).toMatchObject([{ key, body: `body of ${key}` }]);
      }
      const { rows } = await client.query('SELECT key, scope FROM idempotency_record ORDER BY key');
      expect(rows).toEqual([
        { key: 'after', scope: Buffer.alloc(0) },
        { key: 'before', scope: Buffer.alloc(0) },
        { key: 'newer', scope: Buffer.from('scope') },
      ]);
    });

    it('move idempotency keys that have their scope in the former table', async () => {
      await client.query(
        `ALTER TABLE idempotency_key ADD COLUMN scope bytea NOT NULL DEFAULT '';
         ALTER TABLE idempotency_key DROP CONSTRAINT idempotency_key_pkey, ADD PRIMARY KEY (subject, key, scope);
         INSERT INTO idempotency_key (subject, key, request_hash, status, body, scope)
         VALUES ('s', 'k', 'hash', 201, 'body', 'scope');
         INSERT INTO migrations (timestamp, name) VALUES (1764500000000, 'IdempotencyScope1764500000000')`,
      );
      await runMigrations(test.url);
      const { rows } = await client.query('SELECT key, scope FROM idempotency_record');
      expect(rows).toEqual([{ key: 'k', scope: Buffer.from('scope') }]);
      expect((await client.query('SELECT * FROM idempotency_key')).fields).toHaveLength(7);
    });

    it('let writers pass while they wait for a long transaction', async () => {
      await client.query('BEGIN');
      await client.query(`SELECT FROM audit_organization WHERE organization_id = 'a' FOR UPDATE`);
      const migrating = runMigrations(test.url);
      const admin = new Client({ connectionString: test.url });
      await admin.connect();
      await until(async () => {
        const { rowCount } = await admin.query(
          `SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit_organization'::regclass`,
        );
        return rowCount === 1;
      });
      await writer.query({ ...ADVANCE, values: [['b'], [1]] });
      await client.query('COMMIT');
      await migrating;
      await admin.end();
      const { rows } = await client.query('SELECT max(recorded_at)::text FROM audit_organization');
      expect(rows).toEqual([{ max: '-infinity' }]);
    });
  });
});
