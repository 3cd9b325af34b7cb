import { connect } from 'node:net';
import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { describeWithPgBouncer, startPgBouncer, type TestPgBouncer } from '../support/pgbouncer';
import { expectProblem } from '../support/problem';
import { createTestDatabase } from '../support/test-database';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { Blocker } from './blocker.fixture';
import { until } from './until.fixture';

/** What docs/operations.md tells operators to give to the role; here to the database, as the role is everybody's. */
const SETTINGS = {
  timezone: 'UTC',
  datestyle: 'ISO',
  plan_cache_mode: 'force_generic_plan',
  jit: 'off',
  statement_timeout: '30s',
  idle_in_transaction_session_timeout: '5s',
};

/** Fewer than the service has connections: statements of one client run on many servers, and the other way round. */
const SERVERS = 3;

async function on<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function configure(url: string, settings: Record<string, string>): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await on(url, async (client) => {
    for (const [setting, value] of Object.entries(settings)) {
      await client.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`);
    }
  });
}

describeWithPgBouncer()('behind PgBouncer in transaction mode', () => {
  let pooler: TestPgBouncer;

  beforeAll(async () => {
    pooler = await startPgBouncer(process.env['TEST_SERVER_URL'] ?? '', SERVERS);
  });
  afterAll(() => pooler?.stop());

  const environment = () => ({
    DATABASE_PREPARED_STATEMENTS: String(pooler.knowsPreparedStatements),
    DATABASE_POOL_MAX: '10',
  });

  const start = (settings: Record<string, string>, more: Record<string, string> = {}) =>
    TestService.start({ ...environment(), ...more }, async (url) => {
      await configure(url, settings);
      return pooler.via(url);
    });

  describe('the service', () => {
    let service: TestService;
    let token: string;

    beforeAll(async () => {
      service = await start(SETTINGS);
      token = await tokenOf();
    });
    afterAll(() => service?.stop());

    it('writes and reads as ever, with more clients than there are connections', async () => {
      const count = 60;
      const written = await Promise.all(
        Array.from({ length: count }, async (_, index) => {
          const timestamp = `2026-0${1 + (index % 9)}-01T01:02:03.000004Z`;
          const event = eventWith({ action: `act-${index}`, timestamp, metadata: { index } });
          const answer = await service.post(EVENTS, token, event);
          await service.get(`${EVENTS}?include_total=true&limit=5`, token, {
            'cache-control': 'no-cache',
          });
          return answer;
        }),
      );
      expect(written.map(({ status }) => status)).toEqual(Array(count).fill(201));
      const page = await service.get(`${EVENTS}?limit=1000&sort_field=sequence`, token);
      const sequences = eventsIn(page).map(({ sequence }) => Number(sequence));
      expect(sequences.reverse()).toEqual(Array.from({ length: count }, (_, index) => index + 1));
      for (const { json } of written) {
        expect(eventsIn(page)).toContainEqual(json);
        expect((await service.get(`${EVENTS}/${json.id}`, token)).json).toEqual(json);
      }
    });

    it('keeps to idempotency keys', async () => {
      const body = { events: [eventWith({ action: 'once' })] };
      const post = () => service.post(`${EVENTS}/bulk`, token, body, { 'idempotency-key': 'k-1' });
      const answers = await Promise.all(Array.from({ length: 8 }, post));
      expect(answers.filter(({ status }) => status === 201).length).toBeGreaterThan(0);
      expect(answers.every(({ status }) => status === 201 || status === 409)).toBe(true);
      const replayed = await post();
      expect(replayed.headers.get('idempotency-replayed')).toBe('true');
      const page = await service.get(`${EVENTS}?actions=once`, token);
      expect(eventsIn(page)).toHaveLength(1);
    });
  });

  describe('a request that is not done in time', () => {
    let service: TestService;
    let blocker: Blocker;
    let token: string;

    beforeAll(async () => {
      // Maintenance and figures would wait for the locks of the blocker, and others behind them.
      service = await start(SETTINGS, {
        REQUEST_TIMEOUT_MS: '3000',
        DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
        MONITORING_ENABLED: 'false',
      });
      // It does nothing for longer than others may within a transaction.
      const withoutTimeout = encodeURIComponent('-c idle_in_transaction_session_timeout=0');
      blocker = await Blocker.connect(`${service.databaseUrl}?options=${withoutTimeout}`);
      token = await tokenOf();
      await service.post(EVENTS, token, eventWith());
    });
    afterEach(() => blocker?.unblock());
    afterAll(async () => {
      await blocker?.close();
      await service?.stop();
    });

    const running = async () =>
      (await blocker.busy()).filter(
        ({ state, query }) => state === 'active' && /audit_|e\.organization_id/.test(query),
      );
    const page = (limit: number) =>
      service.get(`${EVENTS}?limit=${limit}`, token, { 'cache-control': 'no-cache' });
    const bulk = Array.from({ length: 1000 }, () => eventWith());

    it('is not cancelled when it is a statement that commits: its outcome is unknown', async () => {
      const before = await blocker.events();
      await blocker.blockReads();
      expectProblem(await service.post(EVENTS, token, eventWith()), 503, 'DATABASE_UNAVAILABLE');
      expect(await running()).toHaveLength(1);
      await blocker.unblock();
      await until(async () => (await blocker.events()) === before + 1);
    });

    it.each([
      ['a page', () => page(5)],
      ['many events', () => service.post(`${EVENTS}/bulk`, token, { events: bulk })],
    ])('is cancelled in PostgreSQL: %s', async (_, send) => {
      const before = await blocker.events();
      await blocker.blockReads();
      const answering = send();
      await until(async () => (await running()).length === 1);
      expectProblem(await answering, 504, 'REQUEST_TIMEOUT');
      await until(async () => (await blocker.busy()).length === 0); // what it waits for is still in its way
      await blocker.unblock();
      expect((await service.post(EVENTS, token, eventWith())).status).toBe(201);
      expect(await blocker.events()).toBe(before + 1);
    });

    it('is cancelled also where it waits for a server of the pooler', async () => {
      await blocker.blockReads();
      const answering = Promise.all(Array.from({ length: 10 }, (_, index) => page(index + 1)));
      await until(async () => (await running()).length === SERVERS);
      const ends = await answering;
      const late = ends.filter(({ status }) => status === 504);
      for (const answer of late) expectProblem(answer, 504, 'REQUEST_TIMEOUT');
      expect(late.length).toBeGreaterThan(SERVERS);
      // One that came when all servers were taken already cannot even ask for its version, which waits less long.
      for (const answer of ends) {
        if (answer.status !== 504) expectProblem(answer, 503, 'DATABASE_UNAVAILABLE');
      }
      await until(async () => (await blocker.busy()).length === 0);
      await blocker.unblock();
      const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => page(index + 1)));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    });
  });

  it('refuses to boot when sessions would show times of another zone, or store other values', async () => {
    const hostile = {
      ...SETTINGS,
      timezone: 'Asia/Tokyo',
      array_nulls: 'off',
      lock_timeout: '1ms',
    };
    await expect(start(hostile)).rejects.toThrow(
      /timezone is Asia\/Tokyo.*array_nulls is off.*lock_timeout is 1ms.*ALTER ROLE \S+ SET timezone = 'UTC'; ALTER ROLE \S+ SET array_nulls = 'on'; ALTER ROLE \S+ SET lock_timeout = '0'/,
    );
  });

  it('replicas that start at once migrate once, and leave no lock behind', async () => {
    const test = await createTestDatabase();
    try {
      await on(test.url, (client) =>
        client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public'),
      );
      const url = pooler.via(test.url);
      // One guard and one migrating connection are the least that must fit into the pool.
      await Promise.all([runMigrations(url), runMigrations(url)]);
      await runMigrations(url);
      await on(test.url, async (client) => {
        const { rows } = await client.query(
          `SELECT count(*)::int AS locks FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        expect(rows).toEqual([{ locks: 0 }]);
      });
    } finally {
      await test.drop();
    }
  });

  it('a statement is cancelled by the cancel of the protocol', async () => {
    const test = await createTestDatabase();
    const url = pooler.via(test.url);
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      const sleeping = client.query('SELECT pg_sleep(60)');
      const outcome = expect(sleeping).rejects.toMatchObject({ code: '57014' });
      await until(() =>
        on(test.url, async (admin) => {
          const { rowCount } = await admin.query(
            `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'`,
          );
          return rowCount === 1;
        }),
      );
      cancel(client);
      await outcome;
    } finally {
      await client.end();
      await test.drop();
    }
  });
});

/** https://www.postgresql.org/docs/current/protocol-message-formats.html: CancelRequest. */
function cancel(client: Client): void {
  const { port, processID, secretKey } = client as unknown as Record<string, number>;
  const message = Buffer.alloc(16);
  [16, 80877102, processID ?? 0, secretKey ?? 0].forEach((value, index) =>
    message.writeInt32BE(value, index * 4),
  );
  // Kept open until the other side closes: a cancel whose sender is gone is not handed on.
  connect(Number(port), '127.0.0.1')
    .on('error', () => undefined)
    .resume()
    .write(message);
}
