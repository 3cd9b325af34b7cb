import { Client, type PoolClient } from 'pg';
import { poolOf } from '../../src/platform/database/data-source';
import { toDatabaseError } from '../../src/platform/database/database-errors';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { until } from './until.fixture';
import { openNetworkPath, type NetworkPath } from './network-path.fixture';

async function backendOf(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid ?? 0;
}

/** Resolves when the connection is over, however it ended. */
function endOf(client: PoolClient): Promise<void> {
  return new Promise((resolve) => client.once('end', resolve));
}

describe('the database', () => {
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
    await replica.database.withClient((client) =>
      client.query('CREATE TABLE note (id int UNIQUE)'),
    );
  });

  afterAll(async () => {
    await replica?.close();
    await admin?.end();
    await test?.drop();
  });

  /** Ends a backend and waits until it is gone. */
  async function terminate(pid: number): Promise<void> {
    await admin.query('SELECT pg_terminate_backend($1)', [pid]);
    await gone(pid);
  }

  async function gone(pid: number): Promise<void> {
    await until(async () => {
      const { rowCount } = await admin.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
      return rowCount === 0;
    });
  }

  it('answers DATABASE_UNAVAILABLE in bounded time when every connection is in use, and works again after', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const holders = [1, 2].map(() => replica.database.withClient(() => held));
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      retryAfterSeconds: expect.any(Number) as number,
    });
    release();
    await Promise.all(holders);
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).resolves.toBeDefined();
  });

  it('answers REQUEST_TIMEOUT when a statement takes too long, and keeps the connection', async () => {
    await expect(
      replica.database.withClient((c) => c.query('SELECT pg_sleep(20)')),
    ).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(replica.database.poolStatistics().idle).toBeGreaterThan(0);
  });

  it('commits work that resolves and rolls back work that rejects, with the original error', async () => {
    await replica.database.transaction((c) => c.query('INSERT INTO note VALUES (1)'));
    const fault = new Error('mine');
    await expect(
      replica.database.transaction(async (c) => {
        await c.query('INSERT INTO note VALUES (2)');
        throw fault;
      }),
    ).rejects.toBe(fault);
    const { rows } = await admin.query('SELECT id FROM note');
    expect(rows).toEqual([{ id: 1 }]);
  });

  it('turns a row that exists into CONFLICT', async () => {
    await admin.query('INSERT INTO note VALUES (77)');
    await expect(
      replica.database.withClient((c) => c.query('INSERT INTO note VALUES (77)')),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('fails only the request whose backend is terminated while a statement runs', async () => {
    const failing = replica.database.transaction(async (client) => {
      const pid = await backendOf(client);
      const sleep = client.query('SELECT pg_sleep(20)');
      await Promise.all([sleep, admin.query('SELECT pg_terminate_backend($1)', [pid])]);
    });
    const error: unknown = await failing.catch((thrown: unknown) => thrown);
    expect(toDatabaseError(error).code).toBe('DATABASE_UNAVAILABLE');
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).resolves.toBeDefined();
  });

  it('fails only the request whose backend is terminated between two statements', async () => {
    const failing = replica.database.transaction(async (client) => {
      await terminate(await backendOf(client));
      await client.query('SELECT 1');
    });
    const error: unknown = await failing.catch((thrown: unknown) => thrown);
    expect(toDatabaseError(error).code).toBe('DATABASE_UNAVAILABLE');
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).resolves.toBeDefined();
  });

  it('survives the loss of a lent connection on which nothing is asked any more', async () => {
    const pool = poolOf(replica.dataSource);
    const before = pool.totalCount;
    await replica.database
      .withClient(async (client) => {
        const ended = endOf(client);
        await terminate(await backendOf(client));
        await ended;
      })
      .catch(() => undefined);
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).resolves.toBeDefined();
    expect(pool.totalCount).toBeLessThanOrEqual(Math.max(before, 1));
  });

  it('survives the loss of idle connections', async () => {
    let ended = Promise.resolve();
    const pid = await replica.database.withClient((client) => {
      ended = endOf(client);
      return backendOf(client);
    });
    await terminate(pid);
    await ended;
    await expect(replica.database.withClient((c) => c.query('SELECT 1'))).resolves.toBeDefined();
  });

  it('drops a connection whose ROLLBACK failed', async () => {
    const fault = new Error('mine');
    let pid = 0;
    await expect(
      replica.database.transaction(async (client) => {
        pid = await backendOf(client);
        const query = client.query.bind(client);
        Object.assign(client, {
          query: (text: string) =>
            text === 'ROLLBACK' ? Promise.reject(new Error('no answer')) : query(text),
        });
        await client.query('INSERT INTO note VALUES (1000)');
        throw fault;
      }),
    ).rejects.toBe(fault);
    await gone(pid);
    const { rowCount } = await admin.query('SELECT FROM note WHERE id = 1000');
    expect(rowCount).toBe(0);
    expect(await replica.database.withClient(backendOf)).not.toBe(pid);
  });

  it('translates a server that is away', async () => {
    const network = await openNetworkPath(test.url);
    const far = await openReplica(network.url, { acquireTimeoutMs: 500 });
    try {
      network.cut();
      await expect(far.database.withClient((c) => c.query('SELECT 1'))).rejects.toMatchObject({
        code: 'DATABASE_UNAVAILABLE',
      });
    } finally {
      await far.close();
    }
  });

  describe('with a read replica', () => {
    const portOf = (client: PoolClient) =>
      (client as unknown as { connectionParameters: { port: number } }).connectionParameters.port;
    const passed = performance.now.bind(performance);
    let aheadMs = 0;

    beforeEach(() => {
      aheadMs = 0;
      jest.spyOn(performance, 'now').mockImplementation(() => passed() + aheadMs);
    });
    afterEach(() => jest.restoreAllMocks());

    it('reads there, on the primary while it is away, and there again when it is back', async () => {
      const network = await openNetworkPath(test.url);
      const { port } = network;
      const reading = await openReplica(test.url, {
        replicaUrls: [network.url],
        acquireTimeoutMs: 1000,
      });
      const readFrom = () =>
        reading.database.withReader(async (client) => {
          await client.query('SELECT 1');
          return portOf(client);
        });
      let mended: NetworkPath | undefined;
      try {
        expect(await readFrom()).toBe(port);
        network.cut();
        const primary = Number(new URL(test.url).port || 5432);
        expect(await readFrom()).toBe(primary);
        mended = await openNetworkPath(test.url, port);
        expect(await readFrom()).toBe(primary);
        aheadMs += 5001;
        expect(await readFrom()).toBe(port);
      } finally {
        await reading.close();
        mended?.cut();
      }
    });

    it('does without one that was away from the start, until it comes', async () => {
      const network = await openNetworkPath(test.url);
      const { port } = network;
      network.cut();
      const reading = await openReplica(test.url, { replicaUrls: [network.url] });
      const read = () =>
        reading.database.withReader(async (client) => {
          await client.query('SELECT 1');
          return portOf(client);
        });
      let mended: NetworkPath | undefined;
      try {
        const primary = Number(new URL(test.url).port || 5432);
        expect(await read()).toBe(primary);
        aheadMs += 5001;
        expect(await read()).toBe(primary);
        mended = await openNetworkPath(test.url, port);
        aheadMs += 5001;
        expect(await read()).toBe(port);
      } finally {
        await reading.close();
        mended?.cut();
      }
    });

    it('goes to the primary when the replica is a server without our tables', async () => {
      const reading = await openReplica(test.url, { replicaUrls: [`${test.url}_not_there`] });
      try {
        const { rows } = await reading.database.withReader((client) => client.query('SELECT 1'));
        expect(rows).toHaveLength(1);
      } finally {
        await reading.close();
      }
    });

    it('does not repeat on the primary a statement that the replica refused', async () => {
      const reading = await openReplica(test.url, { replicaUrls: [test.url] });
      let runs = 0;
      try {
        await expect(
          reading.database.withReader(async (client) => {
            runs += 1;
            await client.query('SELECT 1 / 0');
          }),
        ).rejects.toMatchObject({ code: 'INTERNAL' });
        expect(runs).toBe(1);
      } finally {
        await reading.close();
      }
    });
  });
});
