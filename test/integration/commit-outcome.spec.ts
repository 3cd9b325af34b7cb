import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Client, type PoolClient } from 'pg';
import { toDatabaseError } from '../../src/platform/database/database-errors';
import { isOutcomeUnknown } from '../../src/platform/database/commit-outcome';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { until } from './until.fixture';

describe('the outcome of a commit', () => {
  let test: TestDatabase;
  let replica: Replica;
  let admin: Client;

  beforeAll(async () => {
    test = await createTestDatabase();
    admin = new Client({ connectionString: test.url });
    await admin.connect();
    replica = await openReplica(test.url, {
      poolMax: 2,
      idleTimeoutMs: 0, // a connection that is dropped was dropped for a reason
      acquireTimeoutMs: 300,
      statementTimeoutMs: 300,
    });
  });

  afterAll(async () => {
    await replica?.close();
    await admin?.end();
    await test?.drop();
  });

  describe('of a commit that failed', () => {
    const failureOf = (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => undefined,
        (error: unknown) => toDatabaseError(error),
      );

    it.each([
      [
        'a statement of its own',
        (sql: string) => replica.database.statement((client) => client.query(sql)),
      ],
      [
        'a transaction',
        (sql: string) =>
          replica.database.transaction((client, defer) => {
            defer(client.query(sql));
            return Promise.resolve();
          }),
      ],
    ])('is unknown unless PostgreSQL reports it (%s)', async (_, commit) => {
      const ended = failureOf(commit('SELECT pg_terminate_backend(pg_backend_pid())'));
      expect(await ended).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(isOutcomeUnknown(await ended)).toBe(true);
      const refused = await failureOf(commit('SELECT 1 / 0'));
      expect(refused).toMatchObject({ code: 'INTERNAL' });
      expect(isOutcomeUnknown(refused)).toBe(false);
      const late = await failureOf(commit('SELECT pg_sleep(5)'));
      expect(late).toMatchObject({ code: 'REQUEST_TIMEOUT' });
      expect(isOutcomeUnknown(late)).toBe(false);
    });

    it('is "not committed" when there was no connection, or it ended before the commit', async () => {
      const away = new Promise<void>((resolve) => setTimeout(resolve, 400));
      const holders = [1, 2].map(() => replica.database.withClient(() => away));
      const unserved = await failureOf(
        replica.database.statement((client) => client.query('SELECT 1')),
      );
      expect(unserved).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(isOutcomeUnknown(unserved)).toBe(false);
      await Promise.all(holders);
      const early = await failureOf(
        replica.database.transaction((client) =>
          client.query('SELECT pg_terminate_backend(pg_backend_pid())'),
        ),
      );
      expect(early).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(isOutcomeUnknown(early)).toBe(false);
    });
  });

  it('of a cancel request is unknown when it has no reply: its connection is given up', async () => {
    // Takes the cancel requests and says nothing, as a way that is full does.
    const silent = createServer((socket) => socket.on('error', () => undefined));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const stop = new AbortController();
    let pid = 0;
    const work = replica.database.withClient(async (client: PoolClient) => {
      pid =
        (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid ?? 0;
      Object.assign(client, { port: (silent.address() as AddressInfo).port });
      stop.abort(new Error('nobody waits'));
      await client.query('SELECT 1');
    }, stop.signal);
    await work;
    await until(async () => {
      const { rowCount } = await admin.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
      return rowCount === 0;
    });
    silent.close();
  });
});
