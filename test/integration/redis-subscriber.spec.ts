import type { RedisConnection } from '../../src/platform/redis/redis-connection';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { captureLog, connectTo, openClient } from './redis.fixture';
import { until } from './until.fixture';

describeWithPrivateRedis()('subscriptions', () => {
  let redis: PrivateRedis;
  let connection: RedisConnection;
  let heard: string[];

  beforeEach(async () => {
    captureLog('warn');
    captureLog('log');
    redis = await startPrivateRedis();
    connection = await connectTo(redis.url);
    heard = [];
  });

  afterEach(async () => {
    connection.onApplicationShutdown();
    await redis.stop();
    jest.restoreAllMocks();
  });

  const listen = (channel: string) =>
    connection.subscribe(channel, (message) => heard.push(`${channel}: ${message}`));

  /** Publishes and waits until that has been heard. */
  async function expectHeard(channel: string, message: string): Promise<void> {
    const sent = await connection.attempt((client) => client.publish(channel, message));
    expect(sent).toBe(1);
    await until(() => heard.includes(`${channel}: ${message}`));
  }

  const live = () => until(() => connection.isAvailable && connection.isSubscribed);

  it('receive messages from the moment of their creation', async () => {
    expect(connection.isSubscribed).toBe(false);
    await listen('a');
    expect(connection.isSubscribed).toBe(true);
    await expectHeard('a', 'one');
    await Promise.all([listen('b'), listen('c')]);
    expect(connection.isSubscribed).toBe(true);
    await expectHeard('b', 'two');
    await expectHeard('c', 'three');
    expect(heard).toHaveLength(3);
  });

  it('share a channel, and a listener that throws harms neither the others nor the process', async () => {
    const errors = captureLog('error');
    await connection.subscribe('a', () => {
      throw new Error('bad listener');
    });
    await listen('a');
    await expectHeard('a', 'one');
    await expectHeard('a', 'two');
    expect(errors).toHaveLength(2);
  });

  it('survive a restart', async () => {
    await Promise.all([listen('a'), listen('b')]);
    const restored = jest.fn();
    connection.onSubscribed(restored);
    await redis.kill();
    await until(() => !connection.isSubscribed);
    await redis.restart();
    await live();
    await expectHeard('a', 'one');
    await expectHeard('b', 'two');
    expect(heard).toHaveLength(2);
    expect(restored).toHaveBeenCalledTimes(1);
  });

  it('survive a hang, which is noticed although they only listen', async () => {
    await listen('a');
    const restored = jest.fn();
    connection.onSubscribed(restored);
    redis.pause();
    await until(() => !connection.isSubscribed);
    redis.resume();
    await live();
    expect(restored).toHaveBeenCalledTimes(1);
    await expectHeard('a', 'one');
  });

  it('survive the end of their connection alone', async () => {
    await listen('a');
    const restored = jest.fn();
    connection.onSubscribed(restored);
    const admin = await openClient(redis.url);
    await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']);
    await admin.disconnect();
    await until(() => restored.mock.calls.length > 0);
    await expectHeard('a', 'one');
    expect(connection.isAvailable).toBe(true);
  });

  it.each(['is away', 'hangs'])('can be made while Redis %s', async (state) => {
    if (state === 'hangs') redis.pause();
    else await redis.kill();
    await connection.attempt((client) => client.ping());
    await until(() => !connection.isAvailable);
    await listen('a'); // without waiting
    expect(connection.isSubscribed).toBe(false);
    if (state === 'hangs') redis.resume();
    else await redis.restart();
    await live();
    await expectHeard('a', 'one');
    expect(heard).toHaveLength(1);
  });

  it('wait until they are allowed', async () => {
    const admin = await openClient(redis.url);
    await admin.aclSetUser('default', 'resetchannels');
    await listen('a'); // waits, but not for ever
    expect(connection.isSubscribed).toBe(false);
    await admin.aclSetUser('default', 'allchannels');
    await live();
    await expectHeard('a', 'one');
    await admin.disconnect();
  });
});
