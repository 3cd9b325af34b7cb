import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { until } from '../integration/until.fixture';
import { openClient } from '../integration/redis.fixture';
import { TestService, tokenOf } from '../support/test-service';

const PASSWORD = 'only the service knows';

describeWithPrivateRedis()('the probes of a service with Redis', () => {
  let redis: PrivateRedis;
  let service: TestService;

  beforeAll(async () => {
    redis = await startPrivateRedis('--requirepass', PASSWORD);
    const url = new URL(redis.url);
    url.password = PASSWORD;
    service = await TestService.start({ REDIS_URL: url.href, ALERT_INTERVAL_MS: '100' });
  });

  afterAll(async () => {
    await service?.stop();
    await redis?.stop();
  });

  const redisIn = async (path: string) => (await service.get(path)).json.details.redis;

  it.each(['/health', '/health/ready'])('%s shows it', async (path) => {
    const answer = await service.get(path);
    expect(answer.status).toBe(200);
    expect(answer.json.info.redis).toEqual({ status: 'up', configured: true });
  });

  it('stay 200 and say degraded, and why, when it refuses writes', async () => {
    const admin = await openClient(redis.url, PASSWORD);
    await admin.replicaOf('127.0.0.1', 1);
    // On a busy machine a probe may be late first, which is degraded for another reason.
    await until(async () => String((await redisIn('/health')).message).includes('READONLY'));
    const answer = await service.get('/health/ready');
    expect(answer.status).toBe(200);
    expect(answer.json.info.redis).toEqual({
      status: 'degraded',
      configured: true,
      message:
        'Redis refuses writes (READONLY): answers come from PostgreSQL and this process alone',
    });
    const operator = await tokenOf({ scope: 'performance:read' });
    const alerts = async () => (await service.get('/api/v1/performance/alerts', operator)).text;
    await until(async () => (await alerts()).includes('REDIS_UNAVAILABLE'));
    await admin.replicaOf('NO', 'ONE' as unknown as number);
    await admin.disconnect();
    await until(async () => (await redisIn('/health/ready')).status === 'up');
  });

  it.each(['is away', 'hangs'])('stay 200 and say degraded when it %s', async (state) => {
    if (state === 'hangs') redis.pause();
    else await redis.kill();
    for (const path of ['/health', '/health/ready']) {
      const answer = await service.get(path);
      expect(answer.status).toBe(200);
      expect(answer.json).toMatchObject({
        status: 'degraded',
        info: { redis: { status: 'degraded', configured: true } },
        error: {},
      });
      expect(answer.text).not.toMatch(/127\.0\.0\.1|ECONN|redis:|only the service knows/);
    }
    for (const path of ['/health/live', '/health/startup']) {
      expect((await service.get(path)).json.status).toBe('ok');
    }
    if (state === 'hangs') redis.resume();
    else await redis.restart();
    await until(async () => (await redisIn('/health/ready')).status === 'up');
  });
});
