import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import { PrivatePostgres } from './private-postgres.fixture';
import { type Reply, Sender } from './replica-set.fixture';
import { SteadyLoad } from './steady-load.fixture';

/** Reads go to a real streaming replica, which lags, goes away and comes back. */
describe('a service under load with a read replica', () => {
  const sender = new Sender();
  let primary: PrivatePostgres;
  let replica: PrivatePostgres;
  let build: Build;
  let service: ServiceProcess;
  let admin: Client;
  let token: string;

  beforeAll(async () => {
    primary = await PrivatePostgres.start();
    replica = await primary.addReplica();
    build = await buildService();
    service = await startServiceProcess(build, primary.url, {
      DATABASE_REPLICA_URLS: replica.url,
      CACHE_ENABLED: 'false', // every read is one of the database
    });
    admin = await connect(primary);
    token = await tokenFor();
  }, 120_000);

  afterAll(async () => {
    sender.close();
    await service?.end('SIGKILL');
    await build?.remove();
    await admin?.end();
    await replica?.remove();
    await primary?.remove();
  }, 60_000);

  async function connect({ url }: PrivatePostgres): Promise<Client> {
    const client = new Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async function onReplica<Row extends object>(text: string): Promise<Row | undefined> {
    const client = await connect(replica);
    const { rows } = await client.query<Row>(text).finally(() => client.end());
    return rows[0];
  }

  /** Scans of the events that were made on the replica so far, by others than its replay. */
  const readsThere = async () =>
    Number(
      (
        await onReplica<{ scans: string }>(
          `SELECT sum(idx_scan) AS scans FROM pg_stat_user_indexes WHERE relname LIKE 'audit_event%'`,
        )
      )?.scans ?? 0,
    );

  const send = (method: string, path: string, body?: unknown): Promise<Reply> =>
    sender.send(method, `${service.url}${path}`, { token, body });

  /** Writes one event and reads it back at once, as a page and by its id. */
  async function writeAndRead(organizationId: string): Promise<void> {
    const stored = await send('POST', EVENTS, eventWith({ organizationId }));
    expect(stored.status).toBe(201);
    const { id } = JSON.parse(stored.text) as { id: string };
    const page = await send('GET', `${EVENTS}?organization_ids=${organizationId}&limit=1`);
    expect({ status: page.status, text: page.text }).toMatchObject({ status: 200 });
    expect(page.text).toContain(id);
    expect((await send('GET', `${EVENTS}/${id}`)).text).toBe(stored.text);
  }

  async function writeAndReadOften(): Promise<void> {
    const organizationId = `own-${randomUUID()}`;
    for (let time = 0; time < 10; time += 1) await writeAndRead(organizationId);
  }

  const isCaughtUp = async () => {
    const { rows } = await admin.query<{ at: string }>('SELECT pg_current_wal_flush_lsn() AS at');
    const reached = await onReplica<{ reached: boolean }>(
      `SELECT pg_last_wal_replay_lsn() >= '${rows[0]?.at}'::pg_lsn AS reached`,
    );
    return reached?.reached === true;
  };

  /** The replica answers reads of what it has. */
  async function untilItIsUsed(): Promise<void> {
    const before = await readsThere();
    await until(async () => {
      await send('GET', `${EVENTS}?organization_ids=org-0&limit=5`);
      return (await readsThere()) > before;
    });
  }

  it('that lags shows every client its acknowledged writes', async () => {
    const load = await SteadyLoad.begin(service.url, 'lagging', { mayRefuse: false });
    await load.progress(50);
    await until(isCaughtUp);
    await untilItIsUsed();
    await onReplica('SELECT pg_wal_replay_pause()');
    await writeAndReadOften();
    await load.progress(100);
    expect(load.ready).toBe(200);
    await onReplica('SELECT pg_wal_replay_resume()');
    await writeAndReadOften();
    await load.progress(50);
    await load.end();
    expect(load.readsRefused).toBe(0);
    await load.ledger.check(admin);
    await until(isCaughtUp);
    await untilItIsUsed();
    expect(service.unhandled()).toEqual([]);
  }, 90_000);

  it('that goes away is not missed, and is used again once it is back', async () => {
    const load = await SteadyLoad.begin(service.url, 'gone', { mayRefuse: false });
    await load.progress(50);
    await replica.crash();
    await load.progress(100);
    await writeAndReadOften();
    expect(load.ready).toBe(200);
    await replica.restart();
    await until(isCaughtUp);
    await load.progress(50);
    await load.end();
    expect(load.readsRefused).toBe(0);
    await load.ledger.check(admin);
    await untilItIsUsed();
    expect(service.unhandled()).toEqual([]);
  }, 90_000);
});
