import { until } from '../integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { EVENTS, TestService, tokenOf } from '../support/test-service';

describeWithPrivateRedis()('/health', () => {
  let redis: PrivateRedis;
  let service: TestService;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    service = await TestService.start({ REDIS_URL: redis.url });
  });

  afterAll(async () => {
    delete process.env['REDIS_URL'];
    await service?.stop();
    await redis?.stop();
  });

  const cacheIn = async (path: string) => (await service.get(path)).json.details.cache;

  it('shows how full and how useful the cache is', async () => {
    const token = await tokenOf();
    for (let count = 0; count < 4; count += 1) await service.get(EVENTS, token);
    expect(await cacheIn('/health')).toEqual({
      status: 'up',
      entries: 1,
      sizeMB: expect.any(Number),
      hitRatio: 75,
      sharedTier: 'up',
    });
    expect(await cacheIn('/health/ready')).toBeUndefined();
  });

  it('shows it degraded, and is 200, while Redis is away', async () => {
    await redis.kill();
    await until(async () => (await cacheIn('/health')).status === 'degraded');
    const answer = await service.get('/health');
    expect([answer.status, answer.json.status]).toEqual([200, 'degraded']);
    expect(answer.json.details.cache.sharedTier).toBe('away');
    await redis.restart();
    await until(async () => (await cacheIn('/health')).status === 'up');
  });
});
