import { setTimeout as sleep } from 'node:timers/promises';
import { RedisConnection } from '../../src/platform/redis/redis-connection';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';
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

describe('without REDIS_URL', () => {
  it('answers undefined to everything, without a client', async () => {
    connection = await connectTo(undefined);
    expect(connection.isConfigured).toBe(false);
    expect(connection.client).toBeUndefined();
    expect(await connection.attempt((client) => client.ping())).toBeUndefined();
    await connection.subscribe('channel', () => undefined);
    expect(connection.isSubscribed).toBe(false);
    expect(connection.statistics()).toEqual({
      configured: false,
      available: false,
      timeouts: 0,
      failures: 0,
      breakerOpened: 0,
    });
    expect(warnings).toEqual([]);
  });
});

describeWithPrivateRedis()('a Redis that answers', () => {
  let redis: PrivateRedis;

  beforeAll(async () => {
    redis = await startPrivateRedis();
  });
  afterAll(() => redis.stop());

  it('runs the attempted work, also when it returns nothing', async () => {
    connection = await connectTo(redis.url);
    expect(connection.isAvailable).toBe(true);
    expect(await connection.attempt((client) => client.set('key', 'value'))).toBe('OK');
    expect(await connection.attempt((client) => client.get('key'))).toBe('value');
    expect(await connection.attempt((client) => client.get('no such key'))).toBeNull();
    expect(warnings).toEqual([]);
  });

  it('refuses commands without opening the breaker, in one line of the log', async () => {
    connection = await connectTo(redis.url);
    await connection.attempt((client) => client.set('text', 'value'));
    for (let count = 0; count < 20; count += 1) {
      expect(await connection.attempt((client) => client.lPush('text', 'value'))).toBeUndefined();
    }
    await connection.attempt((client) => client.sendCommand(['NOSUCH', 'a secret']));
    expect(connection.isAvailable).toBe(true);
    expect(connection.statistics()).toMatchObject({ failures: 21, timeouts: 0, breakerOpened: 0 });
    expect(warnings).toEqual([expect.stringContaining('WRONGTYPE')]);
  });

  it('does not put arguments of refused commands into the log', async () => {
    connection = await connectTo(redis.url);
    await connection.attempt((client) => client.sendCommand(['NOSUCH', 'a secret']));
    expect(warnings).toEqual([expect.stringContaining('NOSUCH')]);
    expect(warnings[0]).not.toContain('secret');
  });

  it('is away while it is full, and reports why once', async () => {
    connection = await connectTo(redis.url);
    const admin = await openClient(redis.url);
    await admin.configSet('maxmemory', '1');
    expect(await connection.attempt((client) => client.set('key', 'value'))).toBeUndefined();
    await until(() => connection.refusal === 'OOM');
    expect(await connection.attempt((client) => client.get('key'))).toBeUndefined();
    await admin.configSet('maxmemory', '0');
    await admin.disconnect();
    await available();
    expect(connection.refusal).toBeUndefined();
    expect(warnings).toEqual([
      expect.stringMatching(/^A Redis command failed: OOM/),
      expect.stringMatching(/^Redis is away \(OOM/),
    ]);
    expect(notes).toEqual(['Redis is back.']);
  });

  it('is away without a command of ours when it became a replica, and its name is looked up again', async () => {
    const way = await openForgetfulWay(redis.url); // counts connections
    connection = await connectTo(way.url);
    await connection.subscribe('mine-channel', () => undefined);
    const admin = await openClient(redis.url);
    const before = way.taken;
    await admin.replicaOf('127.0.0.1', 1);
    await until(() => connection.refusal === 'READONLY');
    await until(() => way.taken > before + 1); // the subscriber, too
    await admin.replicaOf('NO', 'ONE' as unknown as number);
    await admin.disconnect();
    await available();
    await until(() => connection.isSubscribed);
    connection.onApplicationShutdown();
    way.close();
  });

  it('is away for a user who may not write keys of the prefix', async () => {
    const admin = await openClient(redis.url);
    await admin.sendCommand(['ACL', 'SETUSER', 'other', 'on', '>word', '~other*', '&*', '+@all']);
    const url = Object.assign(new URL(redis.url), { username: 'other', password: 'word' });
    connection = await connectTo(url.href);
    expect(connection.isAvailable).toBe(false);
    await until(() => connection.refusal === 'NOPERM');
    await admin.sendCommand(['ACL', 'SETUSER', 'other', '~mine*']);
    await available();
    await admin.disconnect();
  });

  it('answers undefined for work that throws before it reaches Redis', async () => {
    connection = await connectTo(redis.url);
    const broken = () => {
      throw new TypeError('no');
    };
    expect(await connection.attempt(broken)).toBeUndefined();
    expect(connection.isAvailable).toBe(true);
  });

  it('is not held responsible for a process that was busy itself', async () => {
    connection = await connectTo(redis.url);
    const answer = connection.attempt((client) => client.ping(), 20);
    const busyUntilMs = performance.now() + 100;
    while (performance.now() < busyUntilMs);
    expect(await answer).toBe('PONG');
    expect(connection.statistics().timeouts).toBe(0);
  });
});

describeWithPrivateRedis()('a Redis at an IPv6 address', () => {
  it('is connected to', async () => {
    const redis = await startPrivateRedis('--bind', '::1');
    connection = await connectTo(redis.url.replace('127.0.0.1', '[::1]'));
    expect(connection.isAvailable).toBe(true);
    await redis.stop();
  });
});

describeWithPrivateRedis()('a Redis that is not there', () => {
  it('at boot holds nothing up, and is connected to when it comes', async () => {
    const port = await findFreePort();
    const boot = (connection = new RedisConnection(
      { url: `redis://127.0.0.1:${port}` },
      { keyPrefix: 'mine' },
    ));
    const heard = jest.fn();
    connection.onAvailable(heard);
    const failed = jest.fn();
    boot.client?.on('error', failed);
    await boot.onModuleInit();
    expect(failed).toHaveBeenCalledTimes(1); // it was not waited for any longer
    expect(connection.isAvailable).toBe(false);
    expect(await connection.attempt((client) => client.ping())).toBeUndefined();
    expect(warnings).toEqual([
      expect.stringContaining('answers come from PostgreSQL and this process alone'),
    ]);
    const redis = await startPrivateRedis('--port', String(port));
    await available();
    expect(await connection.attempt((client) => client.ping())).toBe('PONG');
    expect(heard).toHaveBeenCalledTimes(1);
    expect(notes).toEqual(['Redis is back.']);
    await redis.stop();
  });

  it('when killed is reported once, and once more when it is back, empty', async () => {
    const redis = await startPrivateRedis();
    connection = await connectTo(redis.url);
    const heard = jest.fn();
    connection.onAvailable(heard);
    await connection.attempt((client) => client.set('key', 'value'));
    await redis.kill();
    await until(() => !connection.isAvailable);
    expect(await connection.attempt((client) => client.get('key'))).toBeUndefined();
    await sleep(300); // several vain attempts to connect
    expect(warnings).toHaveLength(1);
    await redis.restart();
    await available();
    expect(await connection.attempt((client) => client.get('key'))).toBeNull();
    expect(heard).toHaveBeenCalledTimes(1);
    expect(notes).toEqual(['Redis is back.']);
    await redis.stop();
  });

  it('while attempts are under way costs none of them an error', async () => {
    const redis = await startPrivateRedis();
    connection = await connectTo(redis.url);
    const attempts = Array.from({ length: 100 }, () =>
      connection.attempt((client) => client.blPop('never', 0), FOR_EVER_MS),
    );
    await redis.kill();
    expect(new Set(await Promise.all(attempts))).toEqual(new Set([undefined]));
    expect(connection.statistics()).toMatchObject({ failures: 100, timeouts: 0 });
    expect(warnings).toHaveLength(1); // that it is away; not that commands failed
  });

  it('for want of a password says so without the password', async () => {
    const redis = await startPrivateRedis('--requirepass', 'right');
    const url = new URL(redis.url);
    url.password = 'wrong-secret';
    connection = await connectTo(url.href);
    expect(connection.isAvailable).toBe(false);
    expect(warnings).toEqual([expect.stringContaining('WRONGPASS')]);
    expect(warnings[0]).not.toContain('secret');
    connection.onApplicationShutdown();

    connection = await connectTo(redis.url);
    await until(() => warnings.length === 2);
    expect(warnings[1]).toContain('NOAUTH');
    expect(connection.isAvailable).toBe(false);
    connection.onApplicationShutdown();

    url.password = 'right';
    connection = await connectTo(url.href);
    expect(await connection.attempt((client) => client.ping())).toBe('PONG');
    await redis.stop();
  });
});
