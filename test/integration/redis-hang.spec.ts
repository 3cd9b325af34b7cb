import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisConnection } from '../../src/platform/redis/redis-connection';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { captureLog, connectTo, FOR_EVER_MS, openClient, openForgetfulWay } from './redis.fixture';
import { until } from './until.fixture';

let connection: RedisConnection;
let warnings: string[];
let notes: string[];

beforeEach(() => {
  warnings = captureLog('warn');
  notes = captureLog('log');
});

afterEach(() => {
  connection.onApplicationShutdown();
  jest.restoreAllMocks();
});

const available = () => until(() => connection.isAvailable);

describeWithPrivateRedis()('a Redis that hangs', () => {
  let redis: PrivateRedis;

  beforeEach(async () => {
    redis = await startPrivateRedis();
  });
  afterEach(() => redis.stop());

  it('at boot is not waited for until it is connected to a second time', async () => {
    redis.pause();
    const boot = (connection = new RedisConnection({ url: redis.url }, { keyPrefix: 'mine' }));
    const connected = jest.fn();
    boot.client?.on('connect', connected);
    await boot.onModuleInit();
    expect(connected.mock.calls.length).toBeLessThan(2);
    expect(connection.isAvailable).toBe(false);
    redis.resume();
    await available();
  });

  it('costs one bounded wait, then nothing, and is back by itself', async () => {
    connection = await connectTo(redis.url);
    const heard = jest.fn();
    connection.onAvailable(heard);
    redis.pause();
    const answer = connection.attempt((client) => client.get('key'));
    expect(await Promise.race([answer, sleep(200, 'still waiting')])).toBe('still waiting');
    expect(await answer).toBeUndefined();
    expect(connection.isAvailable).toBe(false);
    const work = jest.fn();
    for (let count = 0; count < 1000; count += 1) await connection.attempt(work);
    expect(work).not.toHaveBeenCalled();
    await sleep(2000); // beyond the probe: the connection is broken and made anew, in vain
    expect(connection.isAvailable).toBe(false);
    expect(warnings).toEqual([expect.stringContaining('does not answer in time')]);
    expect(heard).not.toHaveBeenCalled();
    redis.resume();
    await available();
    expect(await connection.attempt((client) => client.ping())).toBe('PONG');
    expect(heard).toHaveBeenCalledTimes(1);
    expect(notes).toEqual(['Redis is back.']);
    expect(connection.statistics()).toMatchObject({ timeouts: 1, breakerOpened: 1 });
  });

  it('after a PING, but not to anything else, is left alone for longer each time', async () => {
    connection = await connectTo(redis.url);
    const other = await openClient(redis.url);
    await other.sendCommand(['CLIENT', 'PAUSE', '4000', 'WRITE']);
    const breaker = connection;
    const endMs = performance.now() + 3500;
    while (performance.now() < endMs) {
      await breaker.attempt((client) => client.set('key', 'value'), 20);
      await sleep(5);
    }
    // It rests 250, 500, 1000 and 2000 ms; without a rest it would open about a hundred times.
    expect(breaker.statistics().breakerOpened).toBeLessThan(10);
    await other.disconnect();
    await until(
      async () => (await breaker.attempt((client) => client.set('key', 'value'))) === 'OK',
    );
  });

  it('is asked on the same connection when it answers after all', async () => {
    connection = await connectTo(redis.url);
    const broken = jest.fn();
    connection.client?.on('error', broken);
    redis.pause();
    expect(await connection.attempt((client) => client.get('key'), 20)).toBeUndefined();
    expect(connection.isAvailable).toBe(false);
    redis.resume();
    await available();
    expect(broken).not.toHaveBeenCalled();
    expect(connection.statistics()).toMatchObject({ timeouts: 1, breakerOpened: 1 });
  });

  it('on its connections only, also on new ones at first, is connected to again until one works', async () => {
    const way = await openForgetfulWay(redis.url);
    try {
      connection = await connectTo(way.url);
      const heard: string[] = [];
      await connection.subscribe('channel', (message) => heard.push(message));
      way.forget(2);
      expect(await connection.attempt((client) => client.ping())).toBeUndefined();
      await until(() => connection.isAvailable && connection.isSubscribed && way.taken >= 6);
      await connection.attempt((client) => client.publish('channel', 'one'));
      await until(() => heard.includes('one'));
    } finally {
      connection.onApplicationShutdown();
      way.close();
    }
  });

  it('opens one breaker for all that wait at once', async () => {
    connection = await connectTo(redis.url);
    redis.pause();
    await Promise.all(
      Array.from({ length: 50 }, () => connection.attempt((client) => client.get('key'))),
    );
    expect(connection.statistics()).toMatchObject({ breakerOpened: 1 });
    expect(warnings).toHaveLength(1);
  });

  it('is left on shutdown without waiting for it, and without a socket or timer that stays', async () => {
    connection = await connectTo(redis.url);
    await connection.subscribe('channel', () => undefined);
    const before = process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP')).length;
    redis.pause();
    const waiting = connection.attempt((client) => client.get('key'), FOR_EVER_MS);
    connection.onApplicationShutdown();
    expect(await waiting).toBeUndefined();
    expect(connection.statistics()).toMatchObject({ failures: 1, timeouts: 0 });
    await until(
      () =>
        process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP')).length <=
        before - 2,
    );
    redis.resume();
    await sleep(1500); // longer than any delay before another try
    expect(connection.isAvailable).toBe(false);
    const admin = await openClient(redis.url);
    expect((await admin.clientList()).length).toBe(1); // the one that asks
    await admin.disconnect();
    expect(warnings).toEqual([]);
  });

  it.each(['begins', 'has come to nothing yet'])(
    'is left on shutdown while connecting %s',
    async (stage) => {
      if (stage !== 'begins') redis.pause();
      connection = new RedisConnection({ url: redis.url }, { keyPrefix: 'mine' });
      const boot = connection.onModuleInit();
      if (stage !== 'begins') {
        await until(() => process.getActiveResourcesInfo().includes('TCPSocketWrap'));
      }
      connection.onApplicationShutdown();
      await boot;
      redis.resume();
      const admin = await openClient(redis.url);
      await until(async () => (await admin.clientList()).length === 1);
      await sleep(1500);
      expect((await admin.clientList()).length).toBe(1);
      await admin.disconnect();
    },
  );

  it('never gives the reply of one command to another, however often it stops and dies', async () => {
    connection = await connectTo(redis.url);
    const fault = fc.constantFrom('pause briefly', 'pause', 'restart', 'none');
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 4 }), async (faults) => {
        let isOver = false;
        const answeredBefore = answered;
        const readers = Array.from({ length: 8 }, async (_, reader) => {
          for (let count = 0; !isOver; count += 1) {
            const text = `${reader}:${count}`;
            const answer = await connection.attempt((client) => client.echo(text), 30);
            if (answer === undefined) await sleep(1);
            else {
              expect(answer).toBe(text);
              answered += 1;
            }
          }
        });
        for (const kind of faults) {
          if (kind === 'restart') await redis.restart();
          if (kind.startsWith('pause')) {
            redis.pause();
            await sleep(kind === 'pause' ? 700 : 60);
            redis.resume();
          }
          await sleep(20);
        }
        await until(() => answered > answeredBefore);
        isOver = true;
        await Promise.all(readers);
        await available();
      }),
      { numRuns: 8 },
    );
  }, 60_000);
});
