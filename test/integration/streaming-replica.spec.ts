import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import {
  describeWithPostgresPrograms,
  startStreamingPair,
  type StreamingPair,
} from '../support/streaming-pair';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { newOrganization } from './two-replicas.fixture';
import { until } from './until.fixture';

const PREPARATION_MS = 60_000;

describeWithPostgresPrograms()('reads with a streaming replica', () => {
  let pair: StreamingPair;
  let service: Replica;
  let standby: Client;

  beforeAll(async () => {
    pair = await startStreamingPair();
    await runMigrations(pair.primaryUrl);
    service = await openReplica(pair.primaryUrl, { replicaUrls: [pair.standbyUrl] });
    standby = await connect();
  }, PREPARATION_MS);

  afterAll(async () => {
    await service?.close();
    await standby?.end().catch(() => undefined);
    pair?.stop();
  });

  async function connect(): Promise<Client> {
    const client = new Client({ connectionString: pair.standbyUrl });
    client.on('error', () => undefined); // it is stopped underneath
    await client.connect();
    return client;
  }

  async function write(organizationId: string, count = 1): Promise<string> {
    const events = Array.from({ length: count }, () => newEvent({ organizationId }));
    await service.writer.write(writeRequest(events));
    return events.at(-1)?.id ?? '';
  }

  async function count(organizations: readonly string[] | '*'): Promise<number> {
    const sort = { field: 'timestamp', direction: 'desc' } as const;
    const page = { organizations, filter: {}, sort, limit: 1000, offset: 0 };
    return (await service.queries.findPage(page)).texts.length;
  }

  /** Whether a read of these organizations, as AuditQueries makes it, is answered by the standby. */
  async function isReadThere(organizations: readonly string[] | '*'): Promise<boolean> {
    return service.database.withReader(
      async (client) => {
        const { rows } = await client.query<{ there: boolean }>(
          'SELECT pg_is_in_recovery() AS there',
        );
        return rows[0]?.there ?? false;
      },
      { isFresh: (replica) => service.versions.isFresh(replica, organizations) },
    );
  }

  it('are answered by it once it has replayed the acknowledged writes', async () => {
    const id = newOrganization();
    await write(id, 3);
    await until(() => isReadThere([id]));
    expect(await count([id])).toBe(3);
    await until(() => isReadThere('*'));
  });

  it('show newer writes from the primary while it lags', async () => {
    const [id, quiet] = [newOrganization(), newOrganization()];
    await write(id, 2);
    await write(quiet, 1);
    await until(async () => (await isReadThere([id])) && (await isReadThere([quiet])));
    await standby.query('SELECT pg_wal_replay_pause()');
    try {
      const last = await write(id);
      expect(await isReadThere([id])).toBe(false);
      expect(await count([id])).toBe(3);
      expect(await service.queries.findById([id], last)).toContain(last);
      expect(await isReadThere('*')).toBe(false);
      // What nobody wrote to is as fresh there as here.
      expect(await isReadThere([quiet])).toBe(true);
      expect(await count([quiet])).toBe(1);
    } finally {
      await standby.query('SELECT pg_wal_replay_resume()');
    }
    await until(() => isReadThere([id]));
    expect(await count([id])).toBe(3);
  });

  it('show every writer its own, whatever the standby does meanwhile', async () => {
    const organizations = Array.from({ length: 8 }, newOrganization);
    let isOver = false;
    const meddling = (async () => {
      while (!isOver) {
        await standby.query('SELECT pg_wal_replay_pause()');
        await new Promise((resolve) => setTimeout(resolve, 10));
        await standby.query('SELECT pg_wal_replay_resume()');
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await Promise.all(
      organizations.map(async (id) => {
        for (let written = 1; written <= 25; written += 1) {
          await write(id);
          expect(await count([id])).toBe(written);
        }
      }),
    );
    isOver = true;
    await meddling;
  });

  it('go on without it, and come back to it', async () => {
    const id = newOrganization();
    await write(id, 2);
    await until(() => isReadThere([id]));
    pair.stopStandby();
    expect(await count([id])).toBe(2);
    await write(id);
    expect(await count([id])).toBe(3);
    pair.startStandby();
    await until(() => isReadThere([id])); // it is left alone for five seconds after a failure
    expect(await count([id])).toBe(3);
  });
});
