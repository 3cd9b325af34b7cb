import type { RedisConnection } from '../platform/redis/redis-connection';
import { CacheEntry } from './cache-entry';
import { exactBuffer } from './cached-read';
import { connectTo, openClient } from '../../test/integration/redis.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../../test/support/redis-server';
import { MAX_SHARED_BYTES, sharedStore } from './shared-tier';

describeWithPrivateRedis()('the tier that replicas share', () => {
  let server: PrivateRedis;
  let redis: RedisConnection;

  beforeAll(async () => {
    server = await startPrivateRedis();
    redis = await connectTo(server.url);
  });

  afterAll(async () => {
    redis.onApplicationShutdown();
    await server.stop();
  });

  it('stores no response that would delay others on its connection', async () => {
    const client = await openClient(server.url);
    const store = sharedStore(redis);
    const entryOf = (bytes: number) =>
      new CacheEntry(
        { head: exactBuffer(`{"a":"${'x'.repeat(bytes)}"}`), tailData: null },
        performance.now(),
        60_000,
      );
    await store?.set('large', entryOf(MAX_SHARED_BYTES), 60_000);
    await store?.set('small', entryOf(MAX_SHARED_BYTES / 2), 60_000);
    expect(await client.keys('*')).toEqual(['small']);
    expect(redis.statistics()).toMatchObject({ timeouts: 0, breakerOpened: 0 });
    await client.disconnect();
  });
});
