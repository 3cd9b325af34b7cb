import { ConnectionLimiter } from '../../src/concurrency/connection-limiter';
import { EventLoopPressure } from '../../src/concurrency/event-loop-pressure';
import { EventLoopYielder } from '../../src/platform/runtime/event-loop-yielder';
import { concurrencyConfig, databaseConfig } from '../../src/platform/config/settings';
import { AppError } from '../../src/platform/errors/app-error';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';
import { until } from './until.fixture';

const QUEUE_TIMEOUT_MS = 600;

describe('the wait for a connection permit', () => {
  let test: TestDatabase;
  let replica: Replica;
  let limiter: ConnectionLimiter;

  beforeEach(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url, { poolMax: 1 });
    const config = { ...concurrencyConfig(), queueTimeoutMs: QUEUE_TIMEOUT_MS };
    limiter = new ConnectionLimiter(
      config,
      { ...databaseConfig(), poolMax: 1 },
      replica.database,
      new EventLoopPressure(new EventLoopYielder()),
    );
    await read('SELECT 1'); // opens the connection
  });

  afterEach(async () => {
    await replica?.close();
    await test?.drop();
  });

  const read = (text: string, signal?: AbortSignal) =>
    limiter.run({ flow: 'org-1', signal }, () =>
      replica.database.withClient((client) => client.query(text)),
    );

  it('is part of the time that a connection takes to get', async () => {
    const before = replica.database.acquisitions.statistics();
    await Promise.all([read('SELECT pg_sleep(0.4)'), read('SELECT 1')]);
    const { lent, averageMs = 0, successPercent } = replica.database.acquisitions.statistics();
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
    await until(() => limiter.permits.queued === 3);
    leaving.abort(new AppError('CLIENT_CLOSED', 'The client has left.'));
    late.abort(new AppError('REQUEST_TIMEOUT', 'It took too long.'));
    expect(await ends).toMatchObject([
      { reason: { code: 'QUEUE_TIMEOUT' } },
      { reason: { code: 'CLIENT_CLOSED' } },
      { reason: { code: 'REQUEST_TIMEOUT' } },
    ]);
    await blocking;
    const { lent, successPercent } = replica.database.acquisitions.statistics();
    expect(successPercent).toBeCloseTo((100 * lent) / (lent + 2));
  });
});

describe('connection permits under event-loop pressure', () => {
  let test: TestDatabase;
  let replica: Replica;
  let limiter: ConnectionLimiter;
  const contention = new EventLoopPressure(new EventLoopYielder());

  beforeAll(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url, { poolMax: 6 });
    limiter = new ConnectionLimiter(
      concurrencyConfig(),
      { ...databaseConfig(), poolMax: 6 },
      replica.database,
      contention,
    );
  });

  afterAll(async () => {
    await replica?.close();
    await test?.drop();
  });

  /** Work that is over when it is told to be. */
  function works(count: number): { started: () => number; end: () => Promise<unknown> } {
    let started = 0;
    let finish = (): void => undefined;
    const told = new Promise<void>((resolve) => (finish = resolve));
    const work = (): Promise<void> => {
      started += 1;
      return told;
    };
    const all = Array.from({ length: count }, () => limiter.run({ flow: flow() }, work));
    const end = (): Promise<unknown> => {
      finish();
      return Promise.all(all);
    };
    return { started: () => started, end };
  }

  /** As many flows as come. */
  let flow = (): string => '';
  beforeEach(async () => {
    let flows = 0;
    flow = () => `org-${(flows += 1)}`;
    await until(() => limiter.permits.statistics().max === 6);
    await works(2).end(); // of two flows
  });

  /** Keeps the event loop busy, with a moment for timers in between. */
  async function keepBusy(ms: number): Promise<void> {
    const endMs = performance.now() + ms;
    while (performance.now() < endMs) {
      const pieceMs = performance.now() + 20;
      while (performance.now() < pieceMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it('are few, and as many as there are connections once it has time again', async () => {
    await keepBusy(700);
    const narrowed = works(6);
    expect(narrowed.started()).toBe(2);
    await until(() => narrowed.started() === 6); // the loop has nothing to do
    await narrowed.end();
  });

  it('notify cooperative work of pressure and of its end', async () => {
    await keepBusy(700);
    await works(2).end();
    expect(contention.isHigh()).toBe(true);
    await until(async () => {
      await works(2).end(); // still of two flows
      return !contention.isHigh();
    });
  });

  it('are as many as there are connections where all are of one flow', async () => {
    flow = () => 'org-1';
    await works(1).end();
    await keepBusy(2000);
    const alone = works(6);
    expect(alone.started()).toBe(6);
    await alone.end();
  });

  it('are not used up by work that waits for PostgreSQL', async () => {
    await keepBusy(700);
    const slow = works(2);
    await keepBusy(900); // for longer than the loop alone would explain
    const others = works(1);
    expect(others.started()).toBe(1);
    await others.end();
    await slow.end();
  });

  it('say nothing of the pool when they are waited for', async () => {
    await limiter.run({ flow: 'org-1' }, () =>
      replica.database.withClient((client) => client.query('SELECT 1')),
    );
    await until(() => limiter.permits.statistics().max === 6);
    const before = replica.database.acquisitions.statistics();
    await keepBusy(700);
    const waiting = works(5);
    await keepBusy(200);
    await waiting.end();
    expect(replica.database.acquisitions.statistics()).toEqual(before);
  });
});
