import { HealthIndicatorService } from '@nestjs/terminus';
import { DatabaseHealthIndicator } from '../../src/platform/database/database.health';
import { MaintainedTables } from '../../src/platform/database/maintained-tables';
import { PartitionsHealthIndicator } from '../../src/maintenance/partitions.health';
import { addMonths, type Month, monthsAhead } from '../../src/platform/database/partitions';
import { databaseConfig } from '../../src/platform/config/settings';
import { Maintenance } from '../../src/maintenance/maintenance';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { optimizerOf } from './optimizer.fixture';
import { openReplica, type Replica } from './replica.fixture';
import { openNetworkPath, type NetworkPath } from './network-path.fixture';

function partitionsOf({ database, partitions }: Replica): PartitionsHealthIndicator {
  const tables = new MaintainedTables();
  tables.addPartitioned({ table: 'audit_event', ahead: 3, retentionDays: 0 });
  const maintenance = new Maintenance(database, tables, partitions, databaseConfig());
  return new PartitionsHealthIndicator(
    new HealthIndicatorService(),
    tables,
    partitions,
    maintenance,
  );
}

describe('the health of a database', () => {
  let test: TestDatabase;
  let network: NetworkPath;
  let replica: Replica;

  beforeEach(async () => {
    test = await createTestDatabase();
    network = await openNetworkPath(test.url);
    // Far longer than a probe may take.
    replica = await openReplica(network.url, { acquireTimeoutMs: 600_000, statementTimeoutMs: 0 });
  });

  afterEach(async () => {
    network?.cut();
    await replica?.close();
    await test?.drop();
  });

  const check = () =>
    new DatabaseHealthIndicator(new HealthIndicatorService(), replica.database).check();

  it('is up, with the state of the pool, while it answers', async () => {
    expect(await check()).toMatchObject({
      database: { status: 'up', pool: { total: 1, idle: 1, waiting: 0 } },
    });
  });

  // Without a bound of its own the check would take until the limit of this test and beyond.
  it('is down in bounded time when it takes connections and answers nothing, and reveals no secrets', async () => {
    network.stall();
    const [onOldConnection, onNewConnection] = await Promise.all([check(), check()]);
    for (const result of [onOldConnection, onNewConnection]) {
      expect(result).toMatchObject({ database: { status: 'down' } });
      expect(JSON.stringify(result)).not.toMatch(/127\.0\.0\.1|postgres|ECONN/i);
    }
  }, 10_000);

  it('has its partitions judged in bounded time when it answers nothing', async () => {
    network.stall();
    expect(await partitionsOf(replica).check()).toMatchObject({
      partitions: { status: 'degraded', message: 'The database does not answer' },
    });
  }, 15_000);

  it('misses no month that a longer partition of an operator holds', async () => {
    const [first, , , end] = monthsAhead(3) as [Month, Month, Month, Month];
    await replica.database.withClient((client) =>
      client.query(
        `CREATE TABLE quarter PARTITION OF audit_event
         FOR VALUES FROM ('${first}-01T00:00:00Z') TO ('${end}-01T00:00:00Z')`,
      ),
    );
    const newest = addMonths(end, -1);
    expect(await partitionsOf(replica).check()).toMatchObject({
      partitions: { status: 'up', tables: { audit_event: { total: 1, newest, missing: [] } } },
    });
    const { partitionOptimization } = await optimizerOf(replica, 2).optimize();
    expect(partitionOptimization).toEqual([]);
  });

  it('has its partitions judged without failing when it is away', async () => {
    const indicator = partitionsOf(replica);
    await replica.partitions.ensure('audit_event', monthsAhead(3));
    expect(await indicator.check()).toMatchObject({ partitions: { status: 'up' } });
    network.cut();
    expect(await indicator.check()).toMatchObject({
      partitions: { status: 'degraded', message: 'The database does not answer' },
    });
  });
});
