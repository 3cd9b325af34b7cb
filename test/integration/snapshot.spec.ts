import type { PoolClient } from 'pg';
import { clientClosed } from '../../src/http/request-context';
import { inSnapshot, withinTime } from '../../src/platform/database/snapshot';
import { useTwoReplicas } from './two-replicas.fixture';

const COUNT = 'SELECT count(*)::int AS n FROM idempotency_record';

describe('a snapshot', () => {
  const replicas = useTwoReplicas();

  async function numberIn(client: Pick<PoolClient, 'query'>): Promise<number> {
    const { rows } = await client.query<{ n: number }>(COUNT);
    return rows[0]?.n ?? NaN;
  }

  function store(key: string): Promise<unknown> {
    return replicas.admin.query(
      `INSERT INTO idempotency_record (subject, key, request_hash, status, body)
       VALUES ('alice', $1, '\\x00', 201, '{}')`,
      [key],
    );
  }

  it('is the same for all statements, also after one that took too long', async () => {
    const { one } = replicas;
    const seen = await one.database.withClient((client) =>
      inSnapshot(client, async () => {
        const before = await numberIn(client);
        await store('while it is open');
        const limit = { timeoutMs: 30 };
        const slow = await withinTime(client, limit, () => client.query('SELECT pg_sleep(60)'));
        const quick = await withinTime(client, { timeoutMs: 60_000 }, () => numberIn(client));
        return { before, slow, quick, after: await numberIn(client) };
      }),
    );
    expect(seen).toEqual({ before: 0, slow: undefined, quick: 0, after: 0 });
    expect(await one.database.withClient(numberIn)).toBe(1);
  });

  it('is over after a failure, and its connection is good for others', async () => {
    const { one } = replicas;
    const failing = one.database.withClient((client) =>
      inSnapshot(client, () => client.query('SELECT 1 / 0')),
    );
    await expect(failing).rejects.toMatchObject({ code: 'INTERNAL' });
    const states = await one.database.withClient(async (client) => {
      const { rows } = await client.query<{ since: boolean }>(
        `SELECT now() = statement_timestamp() AS since`,
      );
      await client.query('CREATE TEMP TABLE written ()'); // not within a transaction that only reads
      return rows;
    });
    expect(states).toEqual([{ since: true }]);
  });

  it('ends with its signal, whose reason is thrown', async () => {
    const { one, admin } = replicas;
    const controller = new AbortController();
    const reason = clientClosed();
    const running = one.database.withClient(
      (client) =>
        inSnapshot(client, () =>
          withinTime(client, { timeoutMs: 60_000, signal: controller.signal }, () =>
            client.query('SELECT pg_sleep(50)'),
          ),
        ),
      controller.signal,
    );
    running.catch(() => undefined); // expected below
    const isSleeping = `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(50)' AND state = 'active'`;
    while ((await admin.query(isSleeping)).rowCount === 0) await new Promise(setImmediate);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    const open = await admin.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`,
    );
    expect(open.rowCount).toBe(0);
  });
});
