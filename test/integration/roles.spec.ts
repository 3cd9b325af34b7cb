import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { join } from 'node:path';
import { Client } from 'pg';
import { calendarRange } from '../../src/platform/database/partition-ranges';
import { addMonths, monthOf } from '../../src/platform/database/partitions';
import { runMigrations } from '../../src/platform/database/migrate';
import { SERVER_PRIVILEGES } from '../../src/platform/database/migrations/server-privileges';
import {
  describeWithPostgresPrograms,
  programs,
  startStreamingPair,
} from '../support/streaming-pair';
import { describeWithPsql, ThreeRoles } from '../support/three-roles';
import { inMonth, maintenanceOf, oldMonth, record, THIS_MONTH } from './maintenance.fixture';
import { makeMonthly } from './monthly-partitions.fixture';
import { optimizerOf, reportOf } from './optimizer.fixture';
import {
  clientEvent,
  listMonths,
  newEvent,
  openReplica,
  receiptsIn,
  type Replica,
  writeRequest,
} from './replica.fixture';
import { until } from './until.fixture';

const INSERT = `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
  VALUES ('org-1', now(), gen_random_uuid(), 1, now(), 'a', 'success', 'INTERNAL')`;
const ALLOW = `SET LOCAL audit_server.change_events = 'on'`;

describeWithPsql()('three roles', () => {
  let roles: ThreeRoles;
  let admin: Client;
  let owner: Client;
  let maintenance: Client;
  let server: Client;
  let replica: Replica;
  let upkeep: Replica;

  beforeAll(async () => {
    roles = await ThreeRoles.create();
    await roles.grant();
    await runMigrations(roles.url('owner'));
    admin = await roles.connect();
    owner = await roles.connect('owner');
    maintenance = await roles.connect('maintenance');
    server = await roles.connect('server');
    replica = await openReplica(roles.url('server'));
    upkeep = await openReplica(roles.url('maintenance'));
  }, 60_000);

  afterAll(async () => {
    await replica?.close();
    await upkeep?.close();
    for (const client of [admin, owner, maintenance, server]) await client?.end();
    await roles?.drop();
  });

  const codeOf = (client: Client, statement: string): Promise<string | undefined> =>
    client.query(statement).then(
      () => undefined,
      (error: { code?: string }) => error.code,
    );
  /** In a transaction that is rolled back. */
  const codesWithin = async (client: Client, ...statements: string[]) => {
    await client.query('BEGIN');
    try {
      for (const statement of statements) {
        const code = await codeOf(client, statement);
        if (code !== undefined) return code;
      }
      return undefined;
    } finally {
      await client.query('ROLLBACK');
    }
  };
  const partition = async (): Promise<string> => {
    const [first] = await replica.partitions.find('audit_event');
    return first?.name ?? '';
  };

  describe('the script', () => {
    it('is run once, before the migrations: these grant the rest', async () => {
      const { rows } = await admin.query<{ table: string; privileges: string[] }>(
        `SELECT c.relname AS table, array_agg(a.privilege_type ORDER BY a.privilege_type) AS privileges
         FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
         WHERE a.grantee = $1::regrole AND NOT c.relispartition GROUP BY 1`,
        [roles.names.server],
      );
      const found = Object.fromEntries(rows.map(({ table, privileges }) => [table, privileges]));
      const wanted: Record<string, readonly string[]> = SERVER_PRIVILEGES.tables;
      expect(Object.keys(found).sort()).toEqual(Object.keys(wanted).sort());
      for (const [table, privileges] of Object.entries(wanted)) {
        expect([table, found[table]]).toEqual([
          table,
          [...new Set(['INSERT', 'SELECT', ...privileges])].sort(),
        ]);
      }
    });

    it('changes nothing when run again, and grants the same after the migrations of an existing owner', async () => {
      const acl = async (client: Client) =>
        (
          await client.query(
            `SELECT c.relname, a.privilege_type FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
             WHERE a.grantee::regrole::text LIKE '%\\_api' AND NOT c.relispartition
               AND a.privilege_type = ANY(CASE c.relname WHEN 'migrations' THEN '{SELECT}'::text[]
                 WHEN 'service_secret' THEN '{SELECT}' ELSE '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}' END)
             UNION ALL
             SELECT p.proname, a.privilege_type FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
             WHERE a.grantee::regrole::text LIKE '%\\_api' ORDER BY 1, 2`,
          )
        ).rows as unknown[];
      const before = await acl(admin);
      expect((await roles.grant()).trim()).toBe('');
      expect(await acl(admin)).toEqual(before);
      const existing = await ThreeRoles.create();
      try {
        const first = await existing.connect();
        await first.query(`CREATE ROLE ${existing.names.owner} LOGIN PASSWORD 'word'`);
        await first.query(`GRANT CREATE ON SCHEMA public TO ${existing.names.owner}`);
        await runMigrations(existing.url('owner'));
        await existing.grant();
        expect(await acl(first)).toEqual(before);
        await first.end();
      } finally {
        await existing.drop();
      }
    });

    it('names the tables that another role owns', async () => {
      const other = await ThreeRoles.create();
      try {
        await runMigrations(other.url());
        expect(await other.grant()).toContain(
          `ALTER TABLE public.audit_event OWNER TO ${other.names.owner};`,
        );
      } finally {
        await other.drop();
      }
    });

    it('serves a schema of any name', async () => {
      const other = await ThreeRoles.create('Audit log');
      try {
        await other.grant();
        await runMigrations(other.url('owner'));
        const one = await openReplica(other.url('server'));
        await one.writer.write(writeRequest([newEvent()]));
        expect((await one.partitions.find('audit_event')).map(({ name }) => name)).toEqual([
          `audit_event_${THIS_MONTH.replace('-', '')}`,
        ]);
        await one.close();
      } finally {
        await other.drop();
      }
    });
  });

  describe('the server', () => {
    it('creates the partition of the first event of a month, of which the owner is the owner', async () => {
      for (const month of [
        THIS_MONTH,
        addMonths(THIS_MONTH, 7),
        '1987-05',
        '0001-01',
        addMonths(THIS_MONTH, 120),
      ]) {
        const written = await replica.writer.write(
          writeRequest([newEvent({ timestamp: inMonth(month) }), clientEvent()]),
        );
        expect(receiptsIn(written)).toHaveLength(2);
      }
      const { rows } = await admin.query<{ owner: string; triggers: number }>(
        `SELECT c.relowner::regrole::text AS owner,
                (SELECT count(*)::int FROM pg_trigger t WHERE t.tgrelid = c.oid) AS triggers
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_event'::regclass`,
      );
      expect(rows).toHaveLength(5);
      for (const row of rows) expect(row).toEqual({ owner: roles.names.owner, triggers: 2 });
    });

    it('makes the same partitions as the owner, whatever there is and is kept', async () => {
      const around = Date.now();
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.integer({ min: Date.parse('0001-01-01'), max: Date.parse('9999-12-31') }),
            fc.integer({ min: around - 1e12, max: around + 1e11 }),
          ),
          fc.integer({ min: Date.parse('2020-01-01'), max: Date.parse('2090-12-31') }),
          fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 36_500 })),
          async (instantMs, nowMs, retentionDays) => {
            const { rows } = await server.query<{ lower: string; upper: string }>(
              `SELECT (extract(epoch FROM lower) * 1000)::float8 AS lower, (extract(epoch FROM upper) * 1000)::float8 AS upper
               FROM audit_event_partition_range($1, $2, $3)`,
              [new Date(instantMs).toISOString(), new Date(nowMs).toISOString(), retentionDays],
            );
            const { lowerMs, upperMs } = calendarRange(instantMs, nowMs, retentionDays);
            expect(rows).toEqual([{ lower: lowerMs, upper: upperMs }]);
          },
        ),
        { numRuns: 500 },
      );
    });

    it('chooses neither range nor name, and fills a gap between partitions of other bounds', async () => {
      const make = (instant: string, days: number) =>
        server.query('SELECT audit_event_make_partition($1, $2)', [instant, days]);
      await owner.query(
        `CREATE TABLE odd PARTITION OF audit_event FOR VALUES FROM ('2031-03-05 10:00Z') TO ('2031-03-20Z')`,
      );
      await make('2031-03-10Z', 0); // there
      await make('2031-03-21Z', 0);
      await make('2031-03-05 09:59:59.999999Z', 0);
      const bounds = (await replica.partitions.find('audit_event'))
        .filter(({ lowerMs }) => (lowerMs ?? 0) >= Date.parse('2031-01-01'))
        .filter(({ lowerMs }) => (lowerMs ?? 0) < Date.parse('2032-01-01'))
        .map(({ name, lowerMs, upperMs }) => [
          name.replace(/_[0-9a-f]{8}$/, '_…'),
          new Date(lowerMs ?? 0).toISOString(),
          new Date(upperMs ?? 0).toISOString(),
        ]);
      expect(bounds).toEqual([
        ['audit_event_203103_…', '2031-03-01T00:00:00.000Z', '2031-03-05T10:00:00.000Z'],
        ['odd', '2031-03-05T10:00:00.000Z', '2031-03-20T00:00:00.000Z'],
        ['audit_event_203103', '2031-03-20T00:00:00.000Z', '2031-04-01T00:00:00.000Z'],
      ]);
      for (const [instant, days] of [
        ['infinity', 0],
        ['-infinity', 0],
        ['2031-05-01', -1],
        ['2031-05-01', 36_501],
        ['20001-01-01', 0],
        ['0044-03-15 BC', 0],
        [inMonth(addMonths(THIS_MONTH, 122)), 0],
      ] as const) {
        await expect(make(instant, days)).rejects.toMatchObject({ code: '22023' });
      }
    });

    it('finishes a detachment that was interrupted, and begins none', async () => {
      const month = addMonths(THIS_MONTH, 9);
      await replica.writer.write(writeRequest([newEvent({ timestamp: inMonth(month) })]));
      const name = `audit_event_${month.replace('-', '')}`;
      const { rows } = await owner.query<{ oid: number }>(`SELECT $1::regclass::oid AS oid`, [
        name,
      ]);
      await server.query('SELECT audit_event_finish_detaching($1)', [rows[0]?.oid]);
      expect(await listMonths(replica.partitions)).toContain(month);
      // A reader of the partition keeps the second half of DETACH CONCURRENTLY waiting.
      await admin.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await admin.query('SELECT count(*) FROM audit_event');
      await owner.query(`SET lock_timeout = '200ms'`);
      const detach = `ALTER TABLE audit_event DETACH PARTITION ${name} CONCURRENTLY`;
      expect(await codeOf(owner, detach)).toBe('55P03');
      await owner.query('RESET lock_timeout');
      await admin.query('ROLLBACK');
      await replica.partitions.refresh('audit_event');
      await replica.writer.write(writeRequest([newEvent({ timestamp: inMonth(month) })]));
      expect(await listMonths(replica.partitions)).toContain(month);
      await owner.query(`DROP TABLE ${name}`);
    });

    it('may neither change nor remove an event, nor what keeps it from that', async () => {
      await replica.writer.write(writeRequest([newEvent()]));
      const name = await partition();
      const refused = [
        `UPDATE audit_event SET action = 'x'`,
        `DELETE FROM audit_event`,
        `TRUNCATE audit_event`,
        `DROP TABLE audit_event CASCADE`,
        `UPDATE ${name} SET action = 'x'`,
        `DELETE FROM ${name}`,
        `TRUNCATE ${name}`,
        `DROP TABLE ${name}`,
        `ALTER TABLE audit_event DETACH PARTITION ${name}`,
        `ALTER TABLE audit_event DISABLE TRIGGER ALL`,
        `ALTER TABLE ${name} DISABLE TRIGGER ALL`,
        `DROP TRIGGER audit_event_append_only ON audit_event`,
        `SET session_replication_role = replica`,
        `CREATE OR REPLACE FUNCTION audit_event_refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'`,
        `DROP FUNCTION audit_event_make_partition(timestamptz, integer)`,
        `ALTER TABLE audit_event ADD COLUMN c text`,
        `CREATE TABLE public.mine (a int)`,
        `CREATE INDEX ON audit_event (action)`,
        `DELETE FROM audit_organization`,
        `TRUNCATE audit_organization`,
        `DELETE FROM audit_client_event_id`,
        `DELETE FROM idempotency_record`,
        `UPDATE idempotency_record SET body = ''`,
        `UPDATE service_secret SET value = ''`,
        `DELETE FROM service_secret`,
        `DELETE FROM migrations`,
        `LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE`,
        `SET ROLE ${roles.names.owner}`,
        `SET ROLE ${roles.names.maintenance}`,
      ];
      const codes: Record<string, string | undefined> = {};
      for (const statement of refused) {
        codes[statement] = await codesWithin(
          server,
          `SET audit_server.change_events = 'on'`,
          statement,
        );
      }
      expect(codes).toEqual(Object.fromEntries(refused.map((statement) => [statement, '42501'])));
    });

    it('is stopped by the trigger even where it was given the privilege', async () => {
      await admin.query(`GRANT UPDATE, DELETE, TRUNCATE ON audit_event TO ${roles.names.server}`);
      try {
        for (const statement of [
          `UPDATE audit_event SET action = 'x'`,
          'DELETE FROM audit_event',
          'TRUNCATE audit_event',
        ]) {
          await expect(
            server.query(`SET audit_server.change_events = 'on'; ${statement}`),
          ).rejects.toMatchObject({
            code: '42501',
            message: expect.stringMatching(/of events is refused: audit_event\w* is append-only/),
          });
        }
      } finally {
        await admin.query(
          `REVOKE UPDATE, DELETE, TRUNCATE ON audit_event FROM ${roles.names.server}`,
        );
      }
    });

    it('makes partitions ahead in its maintenance, leaves the rest, and says that it does', async () => {
      const month = oldMonth(2);
      await makeMonthly(owner, [month]);
      const run = await maintenanceOf(replica).run();
      expect(run).toMatchObject({ failures: [], droppedPartitions: [], expiredRows: {} });
      expect(await listMonths(replica.partitions)).toEqual(
        expect.arrayContaining([month, addMonths(THIS_MONTH, 1), addMonths(THIS_MONTH, 2)]),
      );
      const { indexOptimization, maintenanceResults } = await optimizerOf(replica).optimize();
      expect(indexOptimization[0]).toMatchObject({
        table: 'audit_event',
        action: 'skipped',
        reason: expect.stringContaining(`is no member of ${roles.names.owner}`),
      });
      expect(maintenanceResults.vacuumResults).toEqual([]);
    });

    it('reports on the tables of the owner', async () => {
      await admin.query(`SELECT pg_stat_reset()`);
      await replica.writer.write(writeRequest([newEvent()]));
      await admin.query('SELECT count(*) FROM audit_event');
      const unused = async (one: Replica) =>
        (await reportOf(one).report()).performance.unusedIndexes;
      await until(async () => (await unused(upkeep)) > 0); // statistics arrive later
      expect(await unused(replica)).toBe(await unused(upkeep));
    });

    it('is told to migrate first, and by whom', async () => {
      const fresh = await ThreeRoles.create();
      try {
        await fresh.grant();
        await expect(runMigrations(fresh.url('server'))).rejects.toThrow(
          /lacks migrations \(AuditSchema1764000000000.*may not create tables. Run "npm run migrate".*the role that is to own/,
        );
        await runMigrations(fresh.url('owner'));
        await expect(runMigrations(fresh.url('server'))).resolves.toEqual([]);
        const client = await fresh.connect();
        await client.query('DELETE FROM migrations WHERE id = (SELECT max(id) FROM migrations)');
        await client.end();
        for (const role of ['server', 'maintenance'] as const) {
          await expect(runMigrations(fresh.url(role))).rejects.toThrow(
            new RegExp(`does not own the tables.*DATABASE_URL of the role ${fresh.names.owner}`),
          );
        }
      } finally {
        await fresh.drop();
      }
    });
  });

  describe('maintenance', () => {
    it('drops expired months and expired rows, and makes months ahead that the owner owns', async () => {
      const month = oldMonth(3);
      await makeMonthly(owner, [month]);
      await record(upkeep, { organizationId: 'org-expired', timestamp: inMonth(month) });
      await upkeep.writer.write(
        writeRequest([clientEvent({ organizationId: 'org-expired', timestamp: inMonth(month) })]),
      );
      await owner.query(
        `INSERT INTO idempotency_record (subject, key, request_hash, status, body, created_at)
         VALUES ('s', 'k', '', 201, '', now() - interval '26 hours')`,
      );
      const run = await maintenanceOf(upkeep).run();
      expect(run).toMatchObject({
        failures: [],
        postponed: [],
        expiredRows: { idempotency_record: 1 },
      });
      expect(run?.droppedPartitions).toContain(`audit_event_${month.replace('-', '')}`);
      const { rows } = await admin.query(
        `SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE c.relowner <> $1::regrole AND i.inhparent = 'audit_event'::regclass`,
        [roles.names.owner],
      );
      expect(rows).toEqual([]);
      const ids = await admin.query(
        `SELECT FROM audit_client_event_id WHERE organization_id = 'org-expired'`,
      );
      expect(ids.rows).toEqual([]);
    });

    it('vacuums and rebuilds indexes', async () => {
      await replica.writer.write(
        writeRequest(Array.from({ length: 200 }, () => newEvent({ organizationId: 'org-many' }))),
      );
      await admin.query(`SELECT pg_stat_force_next_flush()`);
      const name = `audit_event_${monthOf(new Date().toISOString()).replace('-', '')}`;
      for (const statement of [
        `VACUUM (ANALYZE, TRUNCATE false) ${name}`,
        `ANALYZE ${name}`,
        `REINDEX INDEX CONCURRENTLY ${name}_pkey`,
      ]) {
        const notices: string[] = [];
        const note = ({ message = '' }) => notices.push(message);
        maintenance.on('notice', note);
        await maintenance.query(statement);
        maintenance.off('notice', note);
        expect([statement, notices]).toEqual([statement, []]);
      }
      const { indexOptimization } = await optimizerOf(upkeep).optimize();
      expect(indexOptimization.filter(({ action }) => action === 'skipped')).toEqual([]);
    });
  });

  describe('events', () => {
    it.each(['owner', 'maintenance', undefined] as const)(
      'are not changed by %s without the mark of a transaction that is to',
      async (role) => {
        const client = await roles.connect(role);
        await client.query(INSERT);
        const name = await partition();
        for (const statement of [
          `UPDATE audit_event SET action = 'x'`,
          'DELETE FROM audit_event',
          'TRUNCATE audit_event',
          `TRUNCATE ${name}`,
          `INSERT INTO audit_event SELECT * FROM audit_event
           ON CONFLICT (organization_id, timestamp, id) DO UPDATE SET action = 'x'`,
        ]) {
          expect([statement, await codesWithin(client, statement)]).toEqual([statement, '42501']);
          expect([statement, await codesWithin(client, ALLOW, statement)]).toEqual([
            statement,
            undefined,
          ]);
        }
        await client.end();
      },
    );
  });
});

describeWithPostgresPrograms()('a dump', () => {
  it('is restored, triggers and functions included', async () => {
    const pair = await startStreamingPair();
    try {
      const bin = programs() ?? '';
      await runMigrations(pair.primaryUrl);
      const replica = await openReplica(pair.primaryUrl);
      await replica.writer.write(writeRequest([newEvent(), clientEvent()]));
      await replica.close();
      const dump = execFileSync(join(bin, 'pg_dump'), ['-d', pair.primaryUrl]);
      const source = new Client({ connectionString: pair.primaryUrl });
      await source.connect();
      await source.query('CREATE DATABASE restored TEMPLATE template0');
      await source.end();
      const url = Object.assign(new URL(pair.primaryUrl), { pathname: '/restored' }).href;
      execFileSync(join(bin, 'psql'), ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', url], {
        input: dump,
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      const restored = await openReplica(url);
      const month = addMonths(THIS_MONTH, 2);
      await restored.writer.write(writeRequest([newEvent({ timestamp: inMonth(month) })]));
      const { rows } = await restored.database.withClient((client) =>
        client.query('SELECT count(*)::int AS n FROM audit_event'),
      );
      expect(rows).toEqual([{ n: 3 }]);
      for (const statement of ['DELETE FROM audit_event', 'TRUNCATE audit_event']) {
        await expect(
          restored.database.withClient((client) => client.query(statement)),
        ).rejects.toMatchObject({ cause: { code: '42501' } });
      }
      await restored.close();
    } finally {
      pair.stop();
    }
  }, 60_000);
});
