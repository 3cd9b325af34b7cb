import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type DatabaseError } from 'pg';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { PrivatePostgres } from './private-postgres.fixture';
import { SteadyLoad } from './steady-load.fixture';

const MAX_CONNECTIONS = 40;
/** As an operator would have it: not the superuser, for whom limits do not hold. */
const ROLE = 'audit_service';
const PASSWORD = 'only for this spec';
/** Less than the readers of the load wait for an answer (20 s), so that each gets the service's own. */
const REQUEST_TIMEOUT_MS = 5000;

/** One process of the service goes through all of these, on one database. */
describe('a service under load whose PostgreSQL', () => {
  let postgres: PrivatePostgres;
  let build: Build;
  let service: ServiceProcess;
  let admin: Client;
  let load: SteadyLoad | undefined;

  beforeAll(async () => {
    postgres = await PrivatePostgres.start({ max_connections: String(MAX_CONNECTIONS) });
    admin = await connect();
    await admin.query(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`);
    await admin.query(`CREATE DATABASE of_service OWNER ${ROLE}`);
    await admin.end();
    admin = await connect('of_service');
    const url = new URL(postgres.url);
    Object.assign(url, { username: ROLE, password: PASSWORD, pathname: '/of_service' });
    build = await buildService();
    service = await startServiceProcess(build, url.href, {
      DATABASE_ACQUIRE_TIMEOUT_MS: '2000',
      REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    });
  }, 120_000);

  afterEach(async () => {
    postgres?.resume(); // what follows a spec that failed needs it, this one's clean-up too
    await load?.end().catch(() => undefined); // of a spec that failed
    load = undefined;
  });

  afterAll(async () => {
    await service?.end('SIGKILL');
    await build?.remove();
    await admin?.end().catch(() => undefined);
    await postgres?.remove();
  }, 60_000);

  async function connect(database = 'audit'): Promise<Client> {
    const url = new URL(postgres.url);
    url.pathname = `/${database}`;
    const client = new Client({ connectionString: url.href });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async function begin(name: string): Promise<SteadyLoad> {
    load = await SteadyLoad.begin(service.url, name);
    await load.progress(50);
    return load;
  }

  /** Nothing that was acknowledged is lost or doubled, and the process noticed nothing that nobody handled. */
  async function finish(running: SteadyLoad): Promise<void> {
    await running.progress(50);
    await running.untilReadyIs(200);
    await running.end();
    load = undefined;
    await running.ledger.check(admin);
    expect(service.unhandled()).toEqual([]);
  }

  /** The lock it needs on all partitions may meet those of writers the other way round. */
  async function makeRoom(): Promise<void> {
    try {
      await admin.query('DROP TRIGGER disk_full ON audit_event');
    } catch (error) {
      if ((error as DatabaseError).code !== '40P01') throw error;
      await makeRoom();
    }
  }

  const endConnections = () =>
    admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
      ROLE,
    ]);

  it('is ended at once and started again, twice, loses nothing and is back by itself', async () => {
    const running = await begin('stopped');
    for (let time = 0; time < 2; time += 1) {
      await postgres.crash();
      await running.untilReadyIs(503);
      await running.refusals(20);
      await postgres.restart();
      await running.untilReadyIs(200);
      await running.progress(50);
    }
    admin = await connect('of_service');
    expect(running.ledger.refused).toBeGreaterThan(0);
    await finish(running);
  }, 120_000);

  it('is paused with all its processes says so in bounded time everywhere, and is back by itself', async () => {
    const running = await begin('paused');
    const token = await tokenFor({ scopes: ['performance:read', 'performance:manage'] });
    const ask = async (path: string, method = 'GET') => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`${service.url}${path}`, { method, headers });
      return { status: response.status, text: await response.text() };
    };
    await postgres.pause();
    await running.untilReadyIs(503);
    const database = '/api/v1/performance/database';
    const away = [ask(`${database}/performance-report`), ask(`${database}/health`)];
    away.push(ask(`${database}/optimize`, 'POST'));
    expect(await ask('/health')).toMatchObject({ status: 503 });
    expect(await ask('/health/live')).toMatchObject({ status: 200 });
    expect(await ask('/api/v1/performance/metrics')).toMatchObject({ status: 200 });
    await until(async () =>
      (await ask('/metrics')).text.includes(
        'audit_alerts_active{type="DATABASE_UNAVAILABLE",severity="CRITICAL"} 1',
      ),
    );
    const { status, text } = await ask('/api/v1/performance/health');
    expect([status, JSON.parse(text)]).toMatchObject([200, { status: 'critical' }]);
    for (const answer of await Promise.all(away)) {
      // What had a connection when it was paused ends at its deadline, what waits for one when it gets none.
      const { code } = JSON.parse(answer.text) as { code: string };
      expect([
        [503, 'DATABASE_UNAVAILABLE'],
        [504, 'REQUEST_TIMEOUT'],
      ]).toContainEqual([answer.status, code]);
    }
    postgres.resume();
    await running.untilReadyIs(200);
    await until(async () =>
      (await ask('/metrics')).text.includes(
        'audit_alerts_active{type="DATABASE_UNAVAILABLE",severity="CRITICAL"} 0',
      ),
    );
    expect(await ask('/health')).toMatchObject({ status: 200 });
    expect(await ask(`${database}/health`)).toMatchObject({ status: 200 });
    await finish(running);
  }, 120_000);

  it('ends its connections again and again loses nothing', async () => {
    const running = await begin('terminated');
    for (let time = 0; time < 25; time += 1) {
      await endConnections();
      await sleep(40);
    }
    await finish(running);
  }, 60_000);

  it.each([
    ['the statement', 'CREATE TRIGGER disk_full BEFORE INSERT ON audit_event'],
    [
      'the commit',
      'CREATE CONSTRAINT TRIGGER disk_full AFTER INSERT ON audit_event DEFERRABLE INITIALLY DEFERRED',
    ],
  ])(
    'has a full disk, found at %s, refuses writes, answers reads, and stores again when there is space',
    async (place, trigger) => {
      const running = await begin(`full at ${place}`);
      await admin.query(`
        CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END $$;
        ${trigger} FOR EACH ROW EXECUTE FUNCTION no_room()`);
      await running.refusals(30);
      const { reads } = running;
      const { requests } = running.ledger;
      await running.refusals(30);
      await until(() => running.reads > reads);
      expect(running.ledger.requests).toBe(requests); // nothing is acknowledged meanwhile
      expect(running.ready).toBe(200);
      await makeRoom();
      expect(running.readsRefused).toBe(0);
      await finish(running);
    },
    60_000,
  );

  it('takes no more connections of its role is not ready, and comes back', async () => {
    const running = await begin('limited');
    await admin.query(`ALTER ROLE ${ROLE} CONNECTION LIMIT 0`);
    await endConnections();
    await running.untilReadyIs(503);
    await running.refusals(20);
    await admin.query(`ALTER ROLE ${ROLE} CONNECTION LIMIT -1`);
    await running.untilReadyIs(200);
    await finish(running);
  }, 60_000);

  it('has all its connections taken by others does with those it has, and comes back', async () => {
    const running = await begin('saturated');
    const others: Client[] = [];
    const saturate = async () => {
      for (;;) {
        try {
          others.push(await connect());
        } catch (error) {
          expect(error).toMatchObject({ code: '53300' });
          return;
        }
      }
    };
    for (let time = 0; time < 5; time += 1) {
      await saturate();
      await endConnections();
      await saturate();
      await sleep(200);
    }
    expect(others.length).toBeGreaterThan(MAX_CONNECTIONS / 2);
    await Promise.all(others.map((client) => client.end()));
    await running.untilReadyIs(200);
    await finish(running);
  }, 60_000);
});
