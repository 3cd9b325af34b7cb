import { Client } from 'pg';
import type { Sealing } from '../../src/maintenance/sealing';
import { MAX_RANGES } from '../../src/maintenance/seal-plan';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { SEARCH_INDEXES } from '../../src/audit/search/search-indexes';
import { createSeal } from '../../src/platform/database/seals';
import { addMonths } from '../../src/platform/database/partitions';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { inMonth, maintenanceOf, oldMonth, THIS_MONTH } from './maintenance.fixture';
import { makeMonthly } from './monthly-partitions.fixture';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { listSeals, makeGrowing, sealAll, sealingOf } from './sealing.fixture';
import { until } from './until.fixture';

/** Is over, whatever the day. */
const LAST_MONTH = addMonths(THIS_MONTH, -2);
const partitionOf = (month: string) => `audit_event_${month.replace('-', '')}`;
const KEYS = SEARCH_INDEXES.map(({ key }) => key).sort();

describe('sealed indexes', () => {
  let test: TestDatabase;
  let admin: Client;
  let replica: Replica;
  let other: Replica;
  let sealing: Sealing;

  beforeEach(async () => {
    test = await createTestDatabase();
    admin = new Client({ connectionString: test.url });
    await admin.connect();
    replica = await openReplica(test.url);
    other = await openReplica(test.url);
    sealing = sealingOf(replica);
    await makeMonthly(admin, [LAST_MONTH]);
    await makeGrowing(admin);
  });

  afterEach(async () => {
    await sealing.onModuleDestroy();
    await replica?.close();
    await other?.close();
    await admin?.end();
    await test?.drop();
  });

  const keysOf = async (month: string, of: 'whole' | 'parts' | 'all' = 'all') =>
    (await listSeals(admin))
      .filter(({ table, name }) => table === partitionOf(month) && isOf(name, of))
      .map(({ name }) => name.split('_')[3])
      .sort();
  const isOf = (name: string, of: string) =>
    of === 'all' || (name.split('_').length > 6 ? 'parts' : 'whole') === of;
  /** Events of some seconds, that ended minutes ago. */
  async function insert(
    count: number,
    timestamps = `now() - interval '3 minutes' - n * interval '1 millisecond'`,
  ) {
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT 'org-1', ${timestamps}, gen_random_uuid(), n, now(), 'a' || n % 7, 'success', 'INTERNAL' FROM generate_series(1, $1::int) n`,
      [count],
    );
    await admin.query('SELECT pg_stat_force_next_flush()').catch(() => undefined);
  }
  const insertedInto = async (month: string) => {
    const { rows } = await admin.query<{ n: number }>(
      'SELECT pg_stat_get_tuples_inserted($1::regclass)::float8 AS n',
      [partitionOf(month)],
    );
    return rows[0]?.n ?? 0;
  };
  const ofLastMonth = `'${LAST_MONTH}-10T00:00:00Z'::timestamptz + n * interval '1 millisecond'`;
  /** A transaction that every build waits for. */
  async function blocked<T>(work: (release: () => Promise<void>) => Promise<T>): Promise<T> {
    const blocker = new Client({ connectionString: test.url });
    await blocker.connect();
    await blocker.query(`BEGIN; INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
      VALUES ('org-x', '${inMonth(LAST_MONTH)}', gen_random_uuid(), 1, now(), 'a', 'success', 'INTERNAL')`);
    try {
      return await work(async () => {
        await blocker.query('ROLLBACK');
      });
    } finally {
      await blocker.end();
    }
  }
  const isBuilding = async () =>
    (
      await admin.query(`SELECT FROM pg_stat_progress_create_index WHERE relid = $1::regclass`, [
        partitionOf(LAST_MONTH),
      ])
    ).rowCount === 1;

  it('are built for all of a month that is over, and not for those to come', async () => {
    await insert(50, ofLastMonth);
    await sealAll(sealing);
    expect(await keysOf(LAST_MONTH, 'whole')).toEqual(KEYS);
    expect(await keysOf(THIS_MONTH)).toEqual([]);
    expect(await sealing.run()).toEqual([]);
    const { rowCount } = await admin.query('SELECT FROM pg_stats WHERE tablename = $1', [
      partitionOf(LAST_MONTH),
    ]);
    expect(rowCount).toBeGreaterThan(0);
  });

  it('wait until hardly any events arrive in it', async () => {
    await sealing.run();
    await insert(5000, ofLastMonth);
    await until(async () => (await insertedInto(LAST_MONTH)) === 5000);
    await sealing.run();
    expect(await keysOf(LAST_MONTH)).toEqual([]);
    await sealing.run();
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
  });

  it('are built for parts of this month as it grows, few at a time', async () => {
    await insert(99);
    await sealAll(sealing);
    expect(await keysOf(THIS_MONTH)).toEqual([]);
    await insert(101);
    await sealAll(sealing);
    expect(await keysOf(THIS_MONTH, 'parts')).toEqual(KEYS);
    for (let part = 1; part <= 9; part += 1) {
      // Between the last seal and what is too new to be sealed.
      await insert(200, `clock_timestamp() - interval '60 seconds' + interval '1 ms' * n`);
      await until(async () => {
        const { rows } = await admin.query<{ isOver: boolean }>(
          `SELECT max(timestamp) < clock_timestamp() - interval '60.2 seconds' AS "isOver" FROM audit_event`,
        );
        return rows[0]?.isOver === true;
      });
      expect(await sealing.run()).toHaveLength(KEYS.length);
      await replica.sealed.refresh();
      const ranges = replica.sealed.of('action').filter(({ isWhole }) => !isWhole);
      expect(ranges.length).toBeLessThanOrEqual(MAX_RANGES);
      for (const [index, range] of ranges.entries()) {
        if (index > 0) expect(range.lowerMs).toBe(ranges[index - 1]?.upperMs);
      }
    }
    expect((await listSeals(admin)).every(({ isValid }) => isValid)).toBe(true);
    expect((await keysOf(THIS_MONTH)).length).toBeLessThanOrEqual(MAX_RANGES * KEYS.length);
  });

  it('of a whole month replace those of its parts', async () => {
    await insert(50, ofLastMonth);
    const range = {
      lowerMs: Date.parse(`${LAST_MONTH}-02`),
      upperMs: Date.parse(`${LAST_MONTH}-20`),
    };
    for (const index of SEARCH_INDEXES) {
      await admin.query(createSeal(EVENT_TABLE, index, partitionOf(LAST_MONTH), range).statement);
    }
    expect(await keysOf(LAST_MONTH, 'parts')).toEqual(KEYS);
    await sealAll(sealing);
    expect(await keysOf(LAST_MONTH, 'parts')).toEqual([]);
    expect(await keysOf(LAST_MONTH, 'whole')).toEqual(KEYS);
  });

  it('are finished where a build was interrupted', async () => {
    await insert(50, ofLastMonth);
    await sealing.run();
    await blocked(async (release) => {
      const building = sealing.run().then(
        () => 'done',
        () => 'lost',
      );
      await until(isBuilding);
      await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index`);
      await building;
      await release();
    });
    expect((await listSeals(admin)).map(({ isValid }) => isValid)).toContain(false);
    await sealing.run();
    const seals = await listSeals(admin);
    expect(seals.every(({ isValid }) => isValid)).toBe(true);
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
  });

  it('are built by one process at a time, which ends at once when it is to stop', async () => {
    await insert(50, ofLastMonth);
    await sealing.run();
    await blocked(async (release) => {
      const building = sealing.run();
      await until(isBuilding);
      const second = sealingOf(other);
      expect(await second.run()).toBeUndefined();
      await sealing.onModuleDestroy();
      expect(await building).toEqual([]);
      await release();
      await sealAll(second);
    });
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
    expect((await listSeals(admin)).every(({ isValid }) => isValid)).toBe(true);
  });

  it('may be dropped under a running service: reads are right without', async () => {
    await replica.writer.write(
      writeRequest([newEvent({ timestamp: inMonth(LAST_MONTH), principalId: 'ada' })]),
    );
    await sealAll(sealing);
    await replica.sealed.refresh();
    expect(replica.sealed.of('principal')).toHaveLength(1);
    for (const { name } of await listSeals(admin)) await admin.query(`DROP INDEX ${name}`);
    const list = {
      organizations: ['org-1'],
      filter: { principalIds: ['ada'] },
      sort: { field: 'timestamp', direction: 'desc' },
      limit: 10,
      offset: 0,
    } as const;
    const request = { ...list, filter: { principalIds: ['ada'] } };
    expect((await replica.queries.findPage(request)).texts).toHaveLength(1);
    expect(await replica.queries.count(request)).toEqual({ count: 1, isPartial: false });
  });

  it('of another version stay for a while, beside those of this one', async () => {
    await insert(50, ofLastMonth);
    await sealAll(sealing);
    const [first] = await listSeals(admin);
    const name = first?.name.replace(/_[0-9a-f]{6}_/, '_000000_') ?? '';
    await admin.query(`ALTER INDEX ${first?.name} RENAME TO ${name}`);
    await sealing.run();
    const names = (await listSeals(admin)).map((seal) => seal.name);
    expect(names).toContain(name);
    expect(names).toHaveLength(KEYS.length + 1);
    const nowMs = performance.now();
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => nowMs + 2 * 3_600_000);
    try {
      await sealing.run();
    } finally {
      clock.mockRestore();
    }
    expect((await listSeals(admin)).map((seal) => seal.name)).not.toContain(name);
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
  });

  it('leave with their partition when its retention is over, and are no leftovers before', async () => {
    const month = oldMonth(1);
    await makeMonthly(admin, [month]);
    await sealAll(sealing);
    expect(await keysOf(month)).toEqual(KEYS);
    const result = await maintenanceOf(replica).run();
    expect(result).toMatchObject({
      droppedPartitions: [partitionOf(month)],
      droppedIndexes: [],
      failures: [],
    });
    expect(await keysOf(month)).toEqual([]);
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
  });

  it('hold rows with any text, those that JSON functions refuse included', async () => {
    const session = (text: string) => `{"sessionId":"s","ipAddress":"${text}"}`;
    const rows = ['a\\u0000b', '\\ud800', 'x'.repeat(9000), '\\u001b'].map(session);
    const write = (id: number, json: string) =>
      admin.query(
        `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, session_context, targets)
         VALUES ('org-1', '${inMonth(LAST_MONTH)}', gen_random_uuid(), $1, now(), $2, 'success', 'INTERNAL', $3,
           json_build_array($3::json, json_build_object('id', $2::text)))`,
        [id, 'a'.repeat(5000), json],
      );
    for (const [id, json] of rows.entries()) await write(id, json);
    await sealAll(sealing);
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
    for (const [id, json] of rows.entries()) await write(10 + id, json);
    expect(sealing.state()).toMatchObject({ failures: 0 });
  });

  it('are not built where PostgreSQL has too few locks for so many', async () => {
    const large = await openReplica(test.url, { poolMax: 100_000 });
    try {
      const refused = sealingOf(large);
      await sealAll(refused);
      expect(refused.state().refusal).toMatch(/max_locks_per_transaction/);
      expect(await listSeals(admin)).toEqual([]);
    } finally {
      await large.close();
    }
  });

  it('that cannot be built do not prevent the others, and are not tried again at once', async () => {
    await insert(50, ofLastMonth);
    const broken = { key: 'broken', definition: 'USING btree ((1 / (length(action) - 2)))' };
    const partly = sealingOf(replica, {}, [...SEARCH_INDEXES, broken]);
    await sealAll(partly);
    expect(partly.state()).toMatchObject({ failures: 1 });
    expect(partly.state().lastFailure).toMatch(/division by zero/);
    await partly.run();
    expect(partly.state()).toMatchObject({ failures: 1 });
    expect(await keysOf(LAST_MONTH)).toEqual(KEYS);
  });
});
