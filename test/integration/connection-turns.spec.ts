import { ConnectionTurns } from '../../src/concurrency/connection-turns';
import { concurrencyConfig } from '../../src/config/concurrency.config';
import { databaseConfig } from '../../src/config/database.config';
import { AppError } from '../../src/errors/app-error';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { until } from './until.fixture';

const QUEUE_TIMEOUT_MS = 600;

describe('what is waited for a turn to a connection', () => {
  let test: TestDatabase;
  let replica: Replica;
  let turns: ConnectionTurns;

  beforeEach(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url, { poolMax: 1 });
    const config = { ...concurrencyConfig(), queueTimeoutMs: QUEUE_TIMEOUT_MS };
    turns = new ConnectionTurns(config, { ...databaseConfig(), poolMax: 1 }, replica.database);
    await read('SELECT 1'); // opens the connection
  });

  afterEach(async () => {
    await replica?.close();
    await test?.drop();
  });

  const read = (text: string, signal?: AbortSignal) =>
    turns.run({ lane: 'org-1', signal }, () =>
      replica.database.withClient((client) => client.query(text)),
    );

  it('is part of the time that a connection takes to get', async () => {
    const before = replica.database.acquisitionStatistics();
    await Promise.all([read('SELECT pg_sleep(0.4)'), read('SELECT 1')]);
    const { lent, averageMs = 0, successPercent } = replica.database.acquisitionStatistics();
    expect(lent).toBe(before.lent + 2);
    expect(averageMs * lent).toBeGreaterThan(350);
    expect(successPercent).toBe(100);
  });

  it('counts as failed when it was in vain, but not when the client left', async () => {
    const blocking = read('SELECT pg_sleep(1)');
    const leaving = new AbortController();
    const late = new AbortController();
    const waiting = [
      read('SELECT 1'),
      read('SELECT 1', leaving.signal),
      read('SELECT 1', late.signal),
    ];
    const ends = Promise.allSettled(waiting);
    await until(() => turns.queued === 3);
    leaving.abort(new AppError('CLIENT_CLOSED', 'The client has left.'));
    late.abort(new AppError('REQUEST_TIMEOUT', 'It took too long.'));
    expect(await ends).toMatchObject([
      { reason: { code: 'QUEUE_TIMEOUT' } },
      { reason: { code: 'CLIENT_CLOSED' } },
      { reason: { code: 'REQUEST_TIMEOUT' } },
    ]);
    await blocking;
    const { lent, successPercent } = replica.database.acquisitionStatistics();
    expect(successPercent).toBeCloseTo((100 * lent) / (lent + 2));
  });
});
