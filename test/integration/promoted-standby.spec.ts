import { Client } from 'pg';
import { EventLogReader } from '../../src/audit/feed/event-log-reader';
import { positionOf } from '../../src/audit/read/position';
import { logPositionOf } from '../../src/audit/read/position';
import type { LogTimeline } from '../../src/audit/event/log-timeline';
import { runMigrations } from '../../src/platform/database/migrate';
import { describeWithPgBouncer, startPgBouncer, type TestPgBouncer } from '../support/pgbouncer';
import {
  describeWithPostgresPrograms,
  startStreamingPair,
  type StreamingPair,
} from '../support/streaming-pair';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { newOrganization } from './two-replicas.fixture';
import { until } from './until.fixture';
import { openNetworkPath, type NetworkPath } from './network-path.fixture';

const PREPARATION_MS = 90_000;
/** What PgBouncer does not hand on, and the service depends on. */
const SETTINGS = { timezone: 'UTC', datestyle: 'ISO', plan_cache_mode: 'force_generic_plan' };

const describeBoth =
  describeWithPostgresPrograms() === describe ? describeWithPgBouncer() : describe.skip;

/**
 * A standby that missed the last commits is promoted behind a pooler that keeps our connections. It gives as many numbers
 * again, by as many transactions: sequences, sums and the texts of snapshots are what they were before.
 */
describeBoth('a promoted standby that missed commits, behind a pooler', () => {
  let pair: StreamingPair;
  let network: NetworkPath;
  let pooler: TestPgBouncer;
  let service: Replica;
  let timeline: LogTimeline;
  let primary: Client;
  let standby: Client;
  const organization = newOrganization();

  beforeAll(async () => {
    pair = await startStreamingPair();
    await runMigrations(pair.primaryUrl);
    [primary, standby] = [await connect(pair.primaryUrl), await connect(pair.standbyUrl)];
    for (const [name, value] of Object.entries(SETTINGS)) {
      await primary.query(`ALTER ROLE audit SET ${name} = '${value}'`);
    }
    network = await openNetworkPath(pair.primaryUrl);
    // The pair lets everybody in; PgBouncer wants to have a password.
    pooler = await startPgBouncer(network.url.replace('audit@', 'audit:any@'), 5);
    service = await openReplica(pooler.via(pair.primaryUrl), {
      preparedStatements: pooler.knowsPreparedStatements,
    });
    ({ timeline } = service);
  }, PREPARATION_MS);

  afterAll(async () => {
    await service?.close();
    await pooler?.stop();
    network?.cut();
    for (const client of [primary, standby]) await client?.end().catch(() => undefined);
    pair?.stop();
  });

  async function connect(url: string): Promise<Client> {
    const client = new Client({ connectionString: url });
    client.on('error', () => undefined); // its server is stopped underneath
    await client.connect();
    return client;
  }

  const write = (count: number) =>
    service.writer.write(
      writeRequest(Array.from({ length: count }, () => newEvent({ organizationId: organization }))),
    );

  const inOrder = { field: 'sequence', direction: 'asc' } as const;
  const page = async (after?: string) => {
    const { texts } = await service.queries.findPage({
      organizations: [organization],
      filter: {},
      sort: inOrder,
      after: after === undefined ? undefined : positionOf(after),
      limit: 100,
      offset: 0,
    });
    return texts;
  };

  async function valueOf(client: Client, expression: string): Promise<string> {
    const { rows } = await client.query<[string]>({
      text: `SELECT (${expression})::text`,
      rowMode: 'array',
    });
    return rows[0]?.[0] ?? '';
  }

  it('is not taken for the one before, by versions, pages, feeds, and as a replica', async () => {
    await write(5);
    const wal = await valueOf(primary, 'pg_current_wal_lsn()');
    await until(
      async () => (await valueOf(standby, `pg_last_wal_replay_lsn() >= '${wal}'`)) === 'true',
    );
    await standby.query(`ALTER SYSTEM SET primary_conninfo = ''`);
    await standby.query('SELECT pg_reload_conf()');
    await until(
      async () => (await valueOf(primary, 'SELECT count(*) FROM pg_stat_replication')) === '0',
    );

    await write(3);
    const [version, all] = [
      await service.versions.current([organization]),
      await service.versions.current('*'),
    ];
    const snapshot = await valueOf(primary, 'pg_current_snapshot()');
    const events = await page();
    expect(events).toHaveLength(8);
    const [fifth = '', eighth = ''] = [events[4], events[7]];

    await standby.query('SELECT pg_promote()');
    network.cut();
    network = await openNetworkPath(pair.standbyUrl, network.port);
    await until(() =>
      write(3).then(
        () => true,
        () => false,
      ),
    );
    await until(async () => {
      const now = await valueOf(standby, 'pg_current_snapshot()');
      if (now !== snapshot) await standby.query('SELECT pg_current_xact_id()');
      return now === snapshot;
    });

    const allNow = await service.versions.current('*');
    expect(allNow.split('.')[0]).toBe(all.split('.')[0]);
    expect(allNow).not.toBe(all);
    expect(await service.versions.current([organization])).not.toBe(version);

    await expect(page(eighth)).rejects.toMatchObject({ code: 'TIMELINE_CHANGED' });
    const rest = await page(fifth);
    expect(rest.map((text) => positionOf(text).sequence)).toEqual(['6', '7', '8']);
    expect(rest).not.toContain(eighth);

    const reads = new EventLogReader(service.database);
    const behind = (text: string) =>
      reads.readAfter(new Map([[organization, logPositionOf(positionOf(text))]]));
    expect(await behind(eighth)).toMatchObject({
      events: [],
      foreign: [{ organizationId: organization, sequence: 8n, head: 8n }],
    });
    const found = await behind(fifth);
    expect(found.foreign).toEqual([]);
    expect(found.events.map(({ text }) => text)).toEqual(rest);

    // The old primary is still there, and somebody has listed it as a replica: as far, and with other events.
    const other = await openReplica(pair.standbyUrl, { replicaUrls: [pair.primaryUrl] });
    try {
      const lists = [[organization], '*'] as const;
      for (const organizations of lists) {
        expect(await other.versions.isFresh(primary as never, organizations)).toBe(false);
        expect(await other.versions.isFresh(standby as never, organizations)).toBe(true);
      }
    } finally {
      await other.close();
    }
    await until(async () => {
      await service.versions.current([organization]); // looks at the server now and then
      return timeline.statistics().timeline === 2;
    });
    expect(timeline.statistics()).toMatchObject({ rewinds: 1, serverChanges: 1 });
    expect(timeline.losses()).toMatchObject({ recent: 1, from: 8 });
  }, 60_000);
});
