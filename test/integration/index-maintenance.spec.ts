import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';
import { maintenanceOf } from './maintenance.fixture';

describe('index maintenance', () => {
  const replicas = useTwoReplicas();
  let holder: Client;
  let rebuilder: Client;

  beforeEach(async () => {
    holder = new Client({ connectionString: replicas.test.url });
    rebuilder = new Client({ connectionString: replicas.test.url });
    await Promise.all([holder.connect(), rebuilder.connect()]);
    await replicas.admin.query('CREATE TABLE indexed (id int PRIMARY KEY)');
    await replicas.admin.query('INSERT INTO indexed SELECT generate_series(1, 100)');
  });

  afterEach(async () => {
    await Promise.all([holder.end(), rebuilder.end()]);
    await replicas.admin.query('DROP TABLE indexed');
  });

  const invalid = async () =>
    (await replicas.admin.query('SELECT FROM pg_index WHERE NOT indisvalid')).rowCount;
  /** Rebuilds the index, up to where it waits for a transaction that goes on until `holder` commits. */
  async function rebuild() {
    await holder.query('BEGIN; INSERT INTO indexed VALUES (101)');
    const rebuilding = rebuilder.query('REINDEX INDEX CONCURRENTLY indexed_pkey');
    const end = rebuilding.then(
      ({ command }) => command,
      ({ code }: { code: string }) => code,
    );
    return end;
  }

  it('drops the leftover of a cancelled REINDEX', async () => {
    const end = rebuild();
    await until(async () => (await invalid()) === 1);
    await replicas.admin.query(
      `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'REINDEX%'`,
    );
    expect(await end).toBe('57014');
    await holder.query('COMMIT');
    const round = await maintenanceOf(replicas.one).run();
    expect(round).toMatchObject({ droppedIndexes: ['indexed_pkey_ccnew'], failures: [] });
    expect(await invalid()).toBe(0);
  });

  it('leaves one alone that is being rebuilt, and does not make that fail', async () => {
    const end = rebuild();
    await until(async () => (await invalid()) === 1);
    const round = maintenanceOf(replicas.one).run();
    const waits = `SELECT FROM pg_locks WHERE NOT granted AND relation = 'indexed'::regclass`;
    await until(async () => (await replicas.admin.query(waits)).rowCount === 1);
    // PostgreSQL has looked for a deadlock by then; the next one to wait for the other is ended.
    await sleep(1200);
    await holder.query('COMMIT');
    expect(await end).toBe('REINDEX');
    expect(await round).toMatchObject({ droppedIndexes: [], failures: [] });
    expect(await invalid()).toBe(0);
  });
});
