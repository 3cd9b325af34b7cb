import { ConfigModule } from '@nestjs/config';
import { Test } from '@nestjs/testing';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { Database } from '../../src/platform/database/database';
import { DatabaseModule } from '../../src/platform/database/database.module';
import type { DedicatedPool } from '../../src/platform/database/dedicated-pool';
import { databaseConfig, serverConfig } from '../../src/platform/config/settings';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { until } from './until.fixture';

const settingsOf = (database: Database | DedicatedPool) =>
  database.withClient(async (client) => {
    const { rows } = await client.query<{ name: string; setting: string }>(
      `SELECT name, setting FROM pg_settings WHERE source = 'client' ORDER BY name`,
    );
    return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  });

describe('a dedicated pool', () => {
  let test: TestDatabase;
  let admin: Client;
  let replica: Replica;

  beforeAll(async () => {
    test = await createTestDatabase();
    admin = new Client({ connectionString: test.url });
    await admin.connect();
    replica = await openReplica(test.url);
  });

  afterAll(async () => {
    await replica?.close();
    await admin?.end();
    await test?.drop();
  });

  async function connections(name: string): Promise<number> {
    const { rowCount } = await admin.query(
      'SELECT FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()',
      [`audit-server ${name}`],
    );
    return rowCount ?? 0;
  }

  it('connects as the large pool does, but for its name and its timeout', async () => {
    const side = replica.database.dedicatedPool('settings', { max: 1, timeoutMs: 1234 });
    expect(await settingsOf(side)).toEqual({
      ...(await settingsOf(replica.database)),
      application_name: 'audit-server settings',
      statement_timeout: '1234',
    });
  });

  it('has no more connections than it may', async () => {
    const side = replica.database.dedicatedPool('bounded', { max: 2, timeoutMs: 5000 });
    const work = () => side.withClient((client) => client.query('SELECT pg_sleep(0.05)'));
    await Promise.all([work(), work(), work(), work()]);
    expect(await connections('bounded')).toBe(2);
  });

  it('answers in bounded time when all of them are lent, and when a statement takes too long', async () => {
    const side = replica.database.dedicatedPool('busy', { max: 1, timeoutMs: 300 });
    await expect(
      side.withClient((client) => client.query('SELECT pg_sleep(20)')),
    ).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    let release = (): void => undefined;
    const holder = side.withClient(() => new Promise<void>((resolve) => (release = resolve)));
    await expect(side.withClient(() => Promise.resolve())).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    release();
    await holder;
    await expect(side.withClient((client) => client.query('SELECT 1'))).resolves.toBeDefined();
  });

  it('recovers when its idle connections are lost', async () => {
    const side = replica.database.dedicatedPool('lost', { max: 1, timeoutMs: 5000 });
    await side.withClient((client) => client.query('SELECT 1'));
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'audit-server lost'`,
    );
    await until(async () => (await connections('lost')) === 0);
    await until(() =>
      side
        .withClient((client) => client.query('SELECT 1'))
        .then(
          () => true,
          () => false,
        ),
    );
  });

  it('is closed before the data source, which may stop the server', async () => {
    const module = await Test.createTestingModule({
      imports: [
        ConfigModule.forRoot({
          isGlobal: true,
          ignoreEnvFile: true,
          load: [
            serverConfig,
            Object.assign(() => ({ ...databaseConfig(), url: test.url }), {
              KEY: databaseConfig.KEY,
            }),
          ],
        }),
        DatabaseModule,
      ],
    }).compile();
    const app = await module.init();
    const side = app.get(Database).dedicatedPool('nest', { max: 1, timeoutMs: 5000 });
    await side.withClient((client) => client.query('SELECT 1'));
    expect(await connections('nest')).toBe(1);
    const dataSource = app.get(DataSource);
    const destroy = dataSource.destroy.bind(dataSource);
    let left = -1;
    jest.spyOn(dataSource, 'destroy').mockImplementation(async () => {
      await until(async () => (left = await connections('nest')) === 0);
      await destroy();
    });
    await app.close();
    expect(left).toBe(0);
    await expect(side.withClient((client) => client.query('SELECT 1'))).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
  });
});
