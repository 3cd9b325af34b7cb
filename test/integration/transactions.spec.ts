import { Client, type PoolClient } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';

describe('a transaction', () => {
  let test: TestDatabase;
  let replica: Replica;
  let admin: Client;

  beforeAll(async () => {
    test = await createTestDatabase();
    admin = new Client({ connectionString: test.url });
    await admin.connect();
    await admin.query('CREATE TABLE note (id int UNIQUE)');
    replica = await openReplica(test.url, { poolMax: 1, acquireTimeoutMs: 2000 });
  });

  afterAll(async () => {
    await replica?.close();
    await admin?.end();
    await test?.drop();
  });

  beforeEach(() => admin.query('TRUNCATE note'));

  const insert = (client: PoolClient, id: number) =>
    client.query('INSERT INTO note VALUES ($1)', [id]);

  async function stored(): Promise<number[]> {
    const { rows } = await admin.query<{ id: number }>('SELECT id FROM note ORDER BY id');
    return rows.map(({ id }) => id);
  }

  /** The pool has one connection: it must have been given back, and outside a transaction. */
  async function expectUsable(): Promise<void> {
    await replica.database.withClient((client) => insert(client, 99));
    expect(await stored()).toContain(99);
  }

  it('has committed its deferred work when it resolves', async () => {
    const result = await replica.database.transaction((client, defer) => {
      defer(insert(client, 1));
      defer(insert(client, 2));
      return Promise.resolve('done');
    });
    expect(result).toBe('done');
    expect(await stored()).toEqual([1, 2]);
    await expectUsable();
  });

  it.each([
    ['first', [5, 5, 6]],
    ['in the middle', [6, 5, 5, 7]],
    ['last', [6, 7, 5, 5]],
  ])('commits nothing when a deferred statement fails %s, and throws its error', async (_, ids) => {
    const failing = replica.database.transaction(async (client, defer) => {
      await insert(client, 1);
      for (const id of ids) defer(insert(client, id));
    });
    await expect(failing).rejects.toMatchObject({ code: '23505' });
    expect(await stored()).toEqual([]);
    await expectUsable();
  });

  it('rejects when PostgreSQL rolls back at COMMIT, as after an error that the work has swallowed', async () => {
    const failing = replica.database.transaction(async (client) => {
      await insert(client, 1);
      await insert(client, 1).catch(() => undefined);
      return 'done';
    });
    await expect(failing).rejects.toThrow('did not commit');
    expect(await stored()).toEqual([]);
    await expectUsable();
  });
});
