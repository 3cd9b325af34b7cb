import type { Client } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { IndexMaintenance } from '../../src/maintenance/index-maintenance';
import { MaintenanceRun } from '../../src/maintenance/maintenance-run';
import type { Optimizer } from '../../src/maintenance/optimizer';
import { addMonths, monthOf } from '../../src/platform/database/partitions';
import { optimizerOf, reportOf } from './optimizer.fixture';
import { listMonths, newEvent, type Replica, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { makeMonthly } from './monthly-partitions.fixture';
import { until } from './until.fixture';
import { allowEventChanges } from '../support/event-changes';

/** Locks that a reader or a writer of a table waits for. */
const BLOCKING = ['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'];

describe('an optimization', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  let one: Replica;
  let two: Replica;
  let optimizer: Optimizer;
  beforeAll(async () => {
    ({ admin, one, two } = replicas);
    optimizer = optimizerOf(one);
    await one.partitions.ensure(EVENT_TABLE, [monthOf(new Date().toISOString())]);
  });

  const rows = async <T extends object>(text: string, values: unknown[] = []) =>
    (await admin.query<T>(text, values)).rows;
  const deadRowsOf = async (table: string) => {
    const [row] = await rows<{ dead: number }>(
      `SELECT n_dead_tup::int AS dead FROM pg_stat_user_tables WHERE relname = $1`,
      [table],
    );
    return row?.dead ?? 0;
  };

  it('vacuums and analyses tables with dead rows, and leaves the others alone', async () => {
    await admin.query(
      `CREATE TABLE worn (id int PRIMARY KEY, text text) WITH (autovacuum_enabled = off)`,
    );
    await admin.query(`CREATE TABLE fresh (id int PRIMARY KEY)`);
    await admin.query(`INSERT INTO worn SELECT i, 'x' FROM generate_series(1, 5000) i`);
    await admin.query(`UPDATE worn SET text = 'y' WHERE id <= 3000`);
    await until(async () => (await deadRowsOf('worn')) === 3000);
    const { vacuumResults } = (await optimizer.optimize()).maintenanceResults;
    expect(vacuumResults.find(({ table }) => table === 'worn')).toMatchObject({
      action: 'done',
      deadRowsBefore: 3000,
      deadRowsAfter: 0,
    });
    expect(vacuumResults.map(({ table }) => table)).not.toContain('fresh');
    const [state] = await rows(
      `SELECT n_dead_tup::int AS dead, vacuum_count::int AS vacuums, analyze_count::int AS analyzes
       FROM pg_stat_user_tables WHERE relname = 'worn'`,
    );
    expect(state).toEqual({ dead: 0, vacuums: 1, analyzes: 1 });
    const again = (await optimizer.optimize()).maintenanceResults;
    expect(again.vacuumResults.map(({ table }) => table)).not.toContain('worn');
    await admin.query('DROP TABLE worn, fresh');
  });

  it('rebuilds a bloated index and neither a tight nor a tiny one', async () => {
    await admin.query(`CREATE TABLE bloated (id int PRIMARY KEY) WITH (autovacuum_enabled = off)`);
    await admin.query(`CREATE INDEX tiny ON bloated (id) WHERE id % 1000 = 0`);
    await admin.query(`INSERT INTO bloated SELECT generate_series(1, 200000)`);
    // Not on the same table: an index that is built holds dead rows, too, while any transaction of the server is older.
    await admin.query(`CREATE TABLE dense AS SELECT i AS id FROM generate_series(1, 100000) i`);
    await admin.query(`CREATE INDEX tight ON dense (id)`);
    await admin.query(`DELETE FROM bloated WHERE id % 10 > 0`);
    await until(async () => (await deadRowsOf('bloated')) === 180_000);
    const [before] = await rows<{ size: number }>(
      `SELECT pg_relation_size('bloated_pkey')::int AS size`,
    );
    const { reindexResults } = (await optimizer.optimize()).maintenanceResults;
    expect(reindexResults).toHaveLength(1);
    expect(reindexResults[0]).toMatchObject({
      index: 'bloated_pkey',
      action: 'done',
      sizeBytesBefore: before?.size,
    });
    const [after] = await rows<{ size: number }>(
      `SELECT pg_relation_size('bloated_pkey')::int AS size`,
    );
    expect(reindexResults[0]?.sizeBytesAfter).toBe(after?.size);
    expect(after?.size).toBeLessThan((before?.size ?? 0) / 2);
    expect((await optimizer.optimize()).maintenanceResults.reindexResults).toEqual([]);
    await admin.query('DROP TABLE bloated, dense');
  });

  it('recognizes an index as built, whatever its columns', async () => {
    await makeMonthly(admin, ['2019-01']);
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT 'org-' || i % 200, '2019-01-01'::timestamptz + i * interval '1 second', gen_random_uuid(), i, now(), 'a', 'success', 'INTERNAL'
       FROM generate_series(1, 60000) i`,
    );
    await admin.query('ANALYZE audit_event_201901');
    expect((await optimizer.optimize()).maintenanceResults.reindexResults).toEqual([]);
  });

  it('removes the leftover of an interrupted REINDEX', async () => {
    await admin.query(`CREATE TABLE leftover (id int PRIMARY KEY)`);
    await admin.query('INSERT INTO leftover SELECT generate_series(1, 100)');
    await two.database.withClient(async (reader) => {
      await reader.query('BEGIN');
      await reader.query('SELECT count(*) FROM leftover');
      await admin.query(`SET lock_timeout = '100ms'`);
      await admin.query('BEGIN; INSERT INTO leftover VALUES (101); COMMIT');
      await admin
        .query('REINDEX INDEX CONCURRENTLY leftover_pkey')
        .catch((error: { code?: string }) => expect(error.code).toBe('55P03'));
      await admin.query('RESET lock_timeout');
      await reader.query('COMMIT');
    });
    const invalid = () => rows('SELECT FROM pg_index WHERE NOT indisvalid');
    expect(await invalid()).toHaveLength(1);
    const { indexOptimization } = await optimizer.optimize();
    expect(indexOptimization).toContainEqual(
      expect.objectContaining({
        index: expect.stringMatching(/^leftover_pkey_cc(new|old)$/),
        action: 'dropped',
      }),
    );
    expect(await invalid()).toEqual([]);
    await admin.query('DROP TABLE leftover');
  });

  it('removes the leftover of its own timed-out rebuild within its reserved time', async () => {
    await admin.query('CREATE TABLE late (id int PRIMARY KEY) WITH (autovacuum_enabled = off)');
    await admin.query('INSERT INTO late SELECT generate_series(1, 200000)');
    await admin.query('DELETE FROM late WHERE id % 10 > 0');
    await admin.query('VACUUM ANALYZE late');
    // A snapshot from before is what a rebuild waits for in the end, though it has never touched the table.
    await admin.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
    const { rebuilt, removed } = await two.database.withClient(async (client) => {
      const run = new MaintenanceRun(client, performance.now() + 3500, 60_000);
      const done = await new IndexMaintenance().rebuildBloated(run);
      await client.query('RESET ALL');
      return done;
    });
    await admin.query('COMMIT');
    expect(rebuilt).toMatchObject([
      { index: 'late_pkey', action: 'skipped', reason: expect.stringMatching(/cancelled/) },
    ]);
    expect(removed).toMatchObject([{ index: 'late_pkey_ccnew', action: 'dropped' }]);
    expect(await rows('SELECT FROM pg_index WHERE NOT indisvalid')).toEqual([]);
    await admin.query('DROP TABLE late');
  });

  it('makes missing partitions', async () => {
    const current = monthOf(new Date().toISOString());
    const { partitionOptimization } = await optimizerOf(one, 3).optimize();
    const wanted = [addMonths(current, 2), addMonths(current, 3)];
    expect(partitionOptimization.filter(({ action }) => action === 'created')).toEqual(
      expect.arrayContaining(wanted.map((month) => expect.objectContaining({ month }))),
    );
    expect(await listMonths(two.partitions)).toEqual(expect.arrayContaining(wanted));
    expect((await optimizerOf(one, 3).optimize()).partitionOptimization).toEqual([]);
  });

  it('does the rest when partitions cannot be made', async () => {
    await admin.query(
      'CREATE TABLE neglected (id int PRIMARY KEY, text text) WITH (autovacuum_enabled = off)',
    );
    await admin.query(`INSERT INTO neglected SELECT i, 'x' FROM generate_series(1, 1000) i`);
    await admin.query(`UPDATE neglected SET text = 'y'`);
    await until(async () => (await deadRowsOf('neglected')) === 1000);
    await admin.query('SELECT pg_advisory_lock($1)', [0x70617274]); // whoever makes a partition
    const result = await optimizerOf(one, 5).optimize();
    expect(result.partitionOptimization.length).toBeGreaterThan(0);
    for (const { action, reason } of result.partitionOptimization) {
      expect([action, reason]).toEqual(['skipped', expect.stringMatching(/^It did not fit/)]);
    }
    expect(result.maintenanceResults.vacuumResults).toContainEqual(
      expect.objectContaining({ table: 'neglected', action: 'done' }),
    );
    await admin.query('SELECT pg_advisory_unlock_all()');
    const { partitionOptimization } = await optimizerOf(one, 5).optimize();
    expect(partitionOptimization.map(({ action }) => action)).not.toContain('skipped');
    await admin.query('DROP TABLE neglected');
  });

  it('names the tables that it skipped because of a lock', async () => {
    await admin.query(
      `CREATE TABLE held (id int PRIMARY KEY, text text) WITH (autovacuum_enabled = off)`,
    );
    await admin.query(`INSERT INTO held SELECT i, 'x' FROM generate_series(1, 1000) i`);
    await admin.query(`UPDATE held SET text = 'y'`);
    await until(async () => (await deadRowsOf('held')) === 1000);
    await admin.query('BEGIN');
    await admin.query('LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE');
    const { vacuumResults } = (await optimizer.optimize()).maintenanceResults;
    await admin.query('COMMIT');
    const result = vacuumResults.find(({ table }) => table === 'held');
    expect(result).toMatchObject({ action: 'skipped', deadRowsAfter: 1000 });
    expect(result?.reason).toMatch(/lock/);
    await admin.query('DROP TABLE held');
  });

  it('is one at a time, over all replicas', async () => {
    const [first, second] = await Promise.allSettled([optimizer.optimize(), optimizer.optimize()]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'CONFLICT' } });
    await admin.query('SELECT pg_advisory_lock($1)', [0x6f70746d]);
    await expect(optimizerOf(two).optimize()).rejects.toMatchObject({ code: 'CONFLICT' });
    await admin.query('SELECT pg_advisory_unlock_all()');
    await expect(optimizerOf(two).optimize()).resolves.toBeDefined();
  });

  it('lets writers go on: none fails, none waits for its locks', async () => {
    const organization = newOrganization();
    const month = monthOf(new Date().toISOString());
    const partition = `audit_event_${month.replace('-', '')}`;
    // Enough to vacuum and to rebuild.
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT 'org-' || i % 50, $1::timestamptz + i * interval '1 microsecond', gen_random_uuid(), i, now(), 'a', 'success', 'INTERNAL'
       FROM generate_series(1, 60000) i`,
      [`${month}-01T00:00:00Z`],
    );
    await allowEventChanges(admin);
    await admin.query(`DELETE FROM ${partition} WHERE sequence % 10 > 0`);
    await until(async () => (await deadRowsOf(partition)) > 50_000);
    let isOver = false;
    let written = 0;
    const failures: unknown[] = [];
    const work = async (replica: Replica) => {
      while (!isOver) {
        await replica.writer
          .write(writeRequest([newEvent({ organizationId: organization })]))
          .catch((error: unknown) => failures.push(error));
        written += 1;
      }
    };
    const seen = new Set<string>();
    const watch = async () => {
      while (!isOver) {
        const found = await rows<{ what: string }>(
          `SELECT l.mode || ' on ' || l.relation::regclass AS what FROM pg_locks l
           JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
           WHERE a.application_name LIKE '%optimize' AND l.mode = ANY($1) AND c.relkind IN ('r', 'p')
             AND l.locktype = 'relation' -- making a file longer takes another lock, for a moment
             AND c.relnamespace = 'public'::regnamespace`,
          [BLOCKING],
        );
        for (const { what } of found) seen.add(what);
      }
    };
    const running = [work(one), work(one), work(two), work(two), watch()];
    await until(() => written > 50);
    const { maintenanceResults } = await optimizer.optimize();
    const until2 = written + 50;
    await until(() => written > until2);
    isOver = true;
    await Promise.all(running);
    expect(failures).toEqual([]);
    expect([...seen]).toEqual([]);
    expect(maintenanceResults.vacuumResults.map(({ table }) => table)).toContain(partition);
    expect(maintenanceResults.reindexResults.map(({ index }) => index)).toContain(
      `${partition}_pkey`,
    );
    const [invalid] = await rows('SELECT FROM pg_index WHERE NOT indisvalid');
    expect(invalid).toBeUndefined();
  });

  it('judges an index by all partitions together, and never one that holds a constraint', async () => {
    await makeMonthly(admin, ['2018-01', '2018-02']);
    await admin.query('CREATE INDEX audit_event_idle ON audit_event (action)');
    await admin.query(`SELECT pg_stat_force_next_flush()`);
    const unusedIn = async () =>
      (await optimizer.optimize()).indexOptimization.filter(({ action }) => action === 'suggested');
    const suggested = await unusedIn();
    const idle = suggested.find(({ index }) => index === 'audit_event_idle');
    expect(idle).toMatchObject({ table: EVENT_TABLE });
    expect(idle?.reason).toMatch(/0 scans since .* in all \d+ partitions together, [\d.]+ MB/);
    expect(suggested.map(({ index }) => index).join()).not.toMatch(/pkey/);
    const report = await reportOf(one).report();
    expect(report.performance.unusedIndexes).toBeGreaterThanOrEqual(1);
    expect(report.performance.suggestions.join('\n')).toContain('audit_event_idle');
    // One use in one partition is use.
    await admin.query('SET enable_seqscan = off');
    await admin.query(`SELECT count(*) FROM audit_event_201901 WHERE action = 'a'`);
    await admin.query('RESET enable_seqscan');
    await admin.query(`SELECT pg_stat_force_next_flush()`);
    expect((await unusedIn()).map(({ index }) => index)).not.toContain('audit_event_idle');
  });

  it('recommends settings from its findings, with reasons', async () => {
    const { configOptimization } = await optimizer.optimize();
    for (const { setting, currentValue, reason } of configOptimization) {
      const [found] = await rows('SELECT FROM pg_settings WHERE name = $1', [setting]);
      expect([setting, found]).toEqual([setting, {}]);
      expect(currentValue).not.toBe('');
      expect(reason.length).toBeGreaterThan(10);
    }
    const [{ value } = { value: '' }] = await rows<{ value: string }>(
      `SELECT setting AS value FROM pg_settings WHERE name = 'synchronous_commit'`,
    );
    const isTold = configOptimization.some(({ setting }) => setting === 'synchronous_commit');
    expect(isTold).toBe(value === 'off');
  });
});
