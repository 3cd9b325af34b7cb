import { Logger } from '@nestjs/common';
import { createClient, type RedisClientType } from '@redis/client';
import { until } from '../../test/integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../../test/support/redis-server';
import type { CacheConfig } from '../platform/config/settings';
import { RedisConnection } from '../platform/redis/redis-connection';
import { CacheEntry } from './cache-entry';
import { exactBuffer } from './cached-read';
import { CacheInvalidation } from './cache-invalidation';
import { KeyPattern, type Tenants } from './cache-key';
import { MemoryStore } from './memory-store';
import type { ResponseCache } from './response-cache';

const PREFIX = 'cache';
const CONFIG = { keyPrefix: PREFIX } as CacheConfig;

/** Part of a replica that invalidation needs. */
interface Replica {
  redis: RedisConnection;
  memory: MemoryStore;
  invalidation: CacheInvalidation;
  /** Tests that were passed to discardRunning. */
  discarded: ((key: string) => boolean)[];
}

async function openReplica(url: string): Promise<Replica> {
  const redis = new RedisConnection({ url }, { keyPrefix: 'mine' });
  await redis.onModuleInit();
  const memory = new MemoryStore(1_000_000);
  const discarded: Replica['discarded'] = [];
  const cache = {
    discardRunning: (test: (key: string) => boolean) => discarded.push(test),
  } as unknown as ResponseCache;
  const invalidation = new CacheInvalidation(memory, cache, redis, CONFIG);
  await invalidation.onApplicationBootstrap();
  return { redis, memory, invalidation, discarded };
}

describeWithPrivateRedis()('CacheInvalidation of two replicas', () => {
  let server: PrivateRedis;
  let client: RedisClientType;
  let one: Replica;
  let two: Replica;
  let warnings: string[];

  beforeAll(async () => {
    server = await startPrivateRedis();
    client = createClient({ url: server.url });
    client.on('error', () => undefined);
    await client.connect();
  });

  afterAll(async () => {
    await client?.disconnect();
    await server?.stop();
  });

  beforeEach(async () => {
    warnings = [];
    jest
      .spyOn(Logger.prototype, 'warn')
      .mockImplementation((message: unknown) => void warnings.push(String(message)));
    await client.flushAll();
    [one, two] = [await openReplica(server.url), await openReplica(server.url)];
  });

  afterEach(() => {
    for (const { redis } of [one, two]) redis.onApplicationShutdown();
    jest.restoreAllMocks();
  });

  function keep({ memory }: Replica, ...keys: string[]): void {
    for (const key of keys) {
      const value = new CacheEntry(
        { head: exactBuffer('x'), tailData: null },
        performance.now(),
        60_000,
        key,
      );
      memory.set(key, { value });
    }
  }

  const remove = (pattern: string, tenants: Tenants = '*', from = one) =>
    from.invalidation.invalidate(new KeyPattern(pattern, PREFIX), tenants);

  const entriesOf = ({ memory }: Replica) => memory.statistics().entries;
  const keysInRedis = async () => (await client.keys('*')).sort();

  it('removes from both and from Redis, and counts each key once', async () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => `${PREFIX}:books:${id}:1:x`) as [
      string,
      string,
      string,
      string,
    ];
    keep(one, a, b);
    keep(two, a, c);
    for (const key of [a, d]) await client.set(key, 'x');
    expect(await remove('books*')).toBe(4);
    expect([entriesOf(one), entriesOf(two), await keysInRedis()]).toEqual([0, 0, []]);
    expect(await remove('books*')).toBe(0);
    expect(warnings).toEqual([]);
  });

  it('notifies subscribers of both', async () => {
    const controller = new AbortController();
    const feeds = [one, two].map(({ invalidation }) => invalidation.follow(controller.signal));
    keep(two, `${PREFIX}:books:a:1:x`);
    await remove('books*', ['a']);
    const told = await Promise.all(feeds.map((feed) => feed.next()));
    for (const { value } of told) {
      expect(value).toMatchObject({ pattern: 'books*', invalidated: 1, tenants: ['a'] });
    }
    controller.abort();
  });

  it('removes everything from a large Redis, and nothing else', async () => {
    const keys = Array.from({ length: 5000 }, (_, at) => `${PREFIX}:books:t${at}:1:x`);
    await client.mSet(
      [...keys, 'other:books:a:1:x', `lock:${keys[0]}`].flatMap((key) => [key, '']),
    );
    expect(await remove('*')).toBe(5000);
    expect(await keysInRedis()).toEqual([`lock:${keys[0]}`, 'other:books:a:1:x']);
  });

  it('is limited to the tenants of the caller, in every tier', async () => {
    const spellings = ['a', 'b', 'a,b', '*', 'a%2A'];
    const keys = spellings.map((tenants) => `${PREFIX}:books:${tenants}:1:x`);
    keep(one, ...keys);
    keep(two, ...keys);
    for (const key of keys) await client.set(key, '');
    expect(await remove('*', ['a'], two)).toBe(1);
    expect([entriesOf(one), entriesOf(two)]).toEqual([4, 4]);
    expect(await keysInRedis()).toEqual(keys.slice(1).sort());
    expect(await remove('*', ['a', 'b'], two)).toBe(2);
  });

  it.each(['books?:*', '[b]ooks*', 'b\\ooks*', '^books*'])(
    'takes %s literally',
    async (pattern) => {
      const key = `${PREFIX}:books:a:1:x`;
      keep(two, key);
      await client.set(key, '');
      expect(await remove(pattern)).toBe(0);
      await client.set(`${PREFIX}:${pattern.replaceAll('*', 'z')}`, '');
      expect(await remove(pattern)).toBe(1);
      expect(await keysInRedis()).toEqual([key]);
    },
  );

  it.each([`${PREFIX}:${PREFIX}:*`, 'x'.repeat(512)])(
    'means the same on every replica: %s',
    async (pattern) => {
      keep(two, `${PREFIX}:books:a:1:x`);
      expect(await remove(pattern)).toBe(0);
      expect(entriesOf(two)).toBe(1);
      expect(warnings).toEqual([]);
    },
  );

  it('discards running reads on both', async () => {
    await remove('books*', ['a']);
    for (const { discarded } of [one, two]) {
      expect(discarded.length).toBeGreaterThan(0);
      for (const test of discarded) {
        expect(test(`${PREFIX}:books:a:1:x`)).toBe(true);
        expect(test(`${PREFIX}:books:b:1:x`)).toBe(false);
      }
    }
  });

  it('is finished once Redis is back, when it was away meanwhile', async () => {
    const [mine, other] = [`${PREFIX}:books:a:1:x`, `${PREFIX}:films:a:1:x`];
    for (const key of [mine, other]) await client.set(key, '');
    server.pause();
    keep(one, mine);
    expect(await remove('books*')).toBe(1);
    server.resume();
    await until(async () => (await keysInRedis()).length === 1);
    expect(await keysInRedis()).toEqual([other]);
    expect(warnings.join()).toContain('once it is back');
  });

  it('continues after invalid messages', async () => {
    for (const message of [
      '',
      '{',
      'null',
      '7',
      '{"id":1,"from":"x","pattern":"","tenants":"*"}',
    ]) {
      await client.publish(`${PREFIX}-invalidate`, message);
    }
    keep(two, `${PREFIX}:books:a:1:x`);
    expect(await remove('*')).toBe(1);
    expect(warnings.length).toBeGreaterThan(0);
  });

  it('reports a replica that does not confirm, and waits for it only for a limited time', async () => {
    const silent = client.duplicate();
    silent.on('error', () => undefined);
    await silent.connect();
    await silent.subscribe(`${PREFIX}-invalidate`, () => undefined);
    keep(two, `${PREFIX}:books:a:1:x`);
    expect(await remove('*')).toBe(1); // while it is still silent
    // An earlier one's replica may still be finishing what Redis did not answer, and tell of it.
    expect(warnings).toContainEqual(expect.stringMatching(/^1 replicas did not confirm/));
    await silent.disconnect();
  });

  it('removes what it can reach while Redis hangs', async () => {
    keep(one, `${PREFIX}:books:a:1:x`);
    server.pause();
    try {
      expect(await remove('*')).toBe(1);
      expect(entriesOf(one)).toBe(0);
    } finally {
      server.resume();
    }
  });
});
