import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { optimizerOf, reportOf } from './optimizer.fixture';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';

describe('a role without privileges', () => {
  const name = `plain_${randomBytes(4).toString('hex')}`;
  const database = `${process.env.TEST_DATABASE_PREFIX}${name}`;
  let server: Client;
  let replica: Replica;

  beforeAll(async () => {
    server = new Client({ connectionString: process.env.TEST_SERVER_URL });
    await server.connect();
    await server.query(`CREATE ROLE ${name} LOGIN PASSWORD 'plain' NOSUPERUSER`);
    await server.query(`CREATE DATABASE ${database} OWNER ${name} TEMPLATE template0`);
    const url = new URL(process.env.TEST_SERVER_URL ?? '');
    Object.assign(url, { username: name, password: 'plain', pathname: `/${database}` });
    await runMigrations(url.href);
    replica = await openReplica(url.href);
  });

  afterAll(async () => {
    await replica?.close();
    await server.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
    await server.query(`DROP ROLE ${name}`);
    await server.end();
  });

  it('gets a report and an optimization of its own tables', async () => {
    const result = await optimizerOf(replica, 1).optimize();
    expect(result.partitionOptimization).toHaveLength(2);
    await replica.writer.write(writeRequest([newEvent(), newEvent()]));
    const report = await reportOf(replica).report();
    expect(report.partitions.totalPartitions).toBe(2);
    expect(report.connectionPool.successRate).toBe(100);
    expect(report.queryCache).toEqual({ hitRatio: null, totalSizeMB: null, evictions: null });
    expect(report.performance.suggestions.join('\n')).toMatch(/queryCache is null/);
    expect((await optimizerOf(replica, 1).optimize()).partitionOptimization).toEqual([]);
  });
});
