import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from './test-database';

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // dropping its database ends it
  await client.connect();
  return client;
}

async function tableCount(client: Client): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM pg_tables WHERE schemaname = 'public'`,
  );
  return rows[0]?.count ?? 0;
}

describe('createTestDatabase', () => {
  it('makes migrated databases side by side, each for itself, and drops them under open connections', async () => {
    const databases: TestDatabase[] = await Promise.all(
      Array.from({ length: 4 }, () => createTestDatabase()),
    );
    expect(new Set(databases.map(({ url }) => url)).size).toBe(4);
    const clients = await Promise.all(databases.map(({ url }) => connected(url)));
    const [first, ...others] = clients;
    const migrated = (await first?.query('SELECT 1 FROM migrations'))?.rowCount;
    expect(migrated).toBeGreaterThan(0);
    const [before, ...rest] = await Promise.all(clients.map(tableCount));
    await first?.query('CREATE TABLE of_the_first ()');
    await expect(Promise.all(clients.map(tableCount))).resolves.toEqual([
      (before ?? 0) + 1,
      ...rest,
    ]);

    await Promise.all(databases.map((database) => database.drop()));
    await expect(connected(databases[0]?.url ?? '')).rejects.toMatchObject({ code: '3D000' });
    await Promise.all(others.map((client) => client.end().catch(() => undefined)));
  });
});
