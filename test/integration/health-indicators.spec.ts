import { HealthIndicatorService } from '@nestjs/terminus';
import { DatabaseHealthIndicator } from '../../src/database/database.health';
import { MaintainedTables } from '../../src/database/maintained-tables';
import { PartitionsHealthIndicator } from '../../src/database/partitions.health';
import { Upkeep } from '../../src/database/upkeep';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { openWay, type Way } from './way.fixture';

describe('the health of a database', () => {
  let test: TestDatabase;
  let way: Way;
  let replica: Replica;

  beforeEach(async () => {
    test = await createTestDatabase();
    way = await openWay(test.url);
    // Far longer than a probe may take.
    replica = await openReplica(way.url, { acquireTimeoutMs: 600_000, statementTimeoutMs: 0 });
  });

  afterEach(async () => {
    way?.cut();
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
  it('is down in bounded time when it takes connections and answers nothing, and tells no secrets', async () => {
    way.stall();
    const [onOldConnection, onNewConnection] = await Promise.all([check(), check()]);
    for (const result of [onOldConnection, onNewConnection]) {
      expect(result).toMatchObject({ database: { status: 'down' } });
      expect(JSON.stringify(result)).not.toMatch(/127\.0\.0\.1|postgres|ECONN/i);
    }
  }, 10_000);

  it('has its partitions judged without failing when it is away', async () => {
    const indicator = new PartitionsHealthIndicator(
      new HealthIndicatorService(),
      replica.partitions,
      new Upkeep(replica.database, new MaintainedTables(), replica.partitions),
    );
    await replica.partitions.ensureAhead('audit_event', 3);
    expect(await indicator.check()).toMatchObject({ partitions: { status: 'up' } });
    way.cut();
    expect(await indicator.check()).toMatchObject({
      partitions: { status: 'degraded', message: 'The database does not answer' },
    });
  });
});
