import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

/** A database of its own for one spec file, with the newest schema and no rows. */
export interface TestDatabase {
  url: string;
  /** Removes it, also while somebody is still connected. */
  drop(): Promise<void>;
}

/** Copies the migrated template of this run (tens of milliseconds). Needs the global setup. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { TEST_SERVER_URL: serverUrl, TEST_DATABASE_PREFIX: prefix } = process.env;
  if (!serverUrl || !prefix) throw new Error('There is no test server: run with jest.config.cjs');
  const name = `${prefix}${randomBytes(8).toString('hex')}`;
  await runOn(serverUrl, (client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE ${templateOf(prefix)}`),
  );
  return {
    url: databaseUrl(serverUrl, name),
    drop: () => runOn(serverUrl, (client) => dropDatabase(client, name)),
  };
}

/** Begins the name of every database of one run, so that several runs can share a server. */
export function newRunPrefix(): string {
  return `audit_test_${randomBytes(6).toString('hex')}_`;
}

/** Makes the database that the others are copies of. */
export async function createTemplate(
  serverUrl: string,
  prefix: string,
  migrate: (url: string) => Promise<unknown>,
): Promise<void> {
  const name = templateOf(prefix);
  // template1 may hold what an administrator put there, and others may be connected to it.
  await runOn(serverUrl, (client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`),
  );
  await migrate(databaseUrl(serverUrl, name));
  // A copy fails while anybody is connected to the template; other copies being made do not matter.
  await runOn(serverUrl, (client) =>
    client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`),
  );
}

/** Drops the template and whatever spec files left behind. */
export async function dropDatabasesOfRun(serverUrl: string, prefix: string): Promise<void> {
  await runOn(serverUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
      [prefix],
    );
    for (const { datname } of rows) await dropDatabase(client, datname);
  });
}

function templateOf(prefix: string): string {
  return `${prefix}template`;
}

async function dropDatabase(client: Client, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

async function runOn(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
