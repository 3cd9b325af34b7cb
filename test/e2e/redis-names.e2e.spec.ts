import { randomUUID } from 'node:crypto';
import type { RedisClientType } from '@redis/client';
import { openClient } from '../integration/redis.fixture';
import { until } from '../integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const SETTINGS = { RATE_LIMIT_ENABLED: 'true', CACHE_KEY_PREFIX: 'mine' };

describeWithPrivateRedis()('services that share a Redis', () => {
  let redis: PrivateRedis;
  let client: RedisClientType;
  let service: TestService;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    client = await openClient(redis.url);
    service = await TestService.start({ ...SETTINGS, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await service.stop();
    await client.quit();
    await redis.stop();
    Object.assign(process.env, { RATE_LIMIT_ENABLED: 'false', REDIS_URL: '' });
    delete process.env['CACHE_KEY_PREFIX'];
  });

  it('hear nothing of one another: every channel and key begins with CACHE_KEY_PREFIX', async () => {
    const organization = `org-${randomUUID()}`;
    const token = await tokenOf({ organizations: [organization] });
    const published: string[] = [];
    const ear = client.duplicate();
    await ear.connect();
    await ear.pSubscribe('*', (_message, channel) => published.push(channel));
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${token}`,
    });
    await service.post(EVENTS, token, eventWith({ organizationId: organization }));
    await service.get(EVENTS, token);
    await until(() => tail.events.length === 1);
    await until(() => published.includes('mine-events-recorded'));
    await until(async () => (await client.keys('*')).length > 1);
    const names = [...published, ...(await client.pubSubChannels()), ...(await client.keys('*'))];
    expect(names).toContain('mine-events-recorded');
    expect(names.filter((name) => !name.startsWith('mine'))).toEqual([]);
    await tail.close();
    await ear.quit();
  });

  it('need a user of Redis for their prefix alone', async () => {
    await client.sendCommand([
      'ACL',
      'SETUSER',
      'audit',
      'on',
      '>word',
      '~mine*',
      '&mine*',
      '+@all',
    ]);
    await client.sendCommand(['ACL', 'LOG', 'RESET']);
    const url = Object.assign(new URL(redis.url), { username: 'audit', password: 'word' });
    const limited = await TestService.start({ ...SETTINGS, REDIS_URL: url.href });
    try {
      const organization = `org-${randomUUID()}`;
      const token = await tokenOf({ organizations: [organization, '*'] });
      const tail = await TailClient.open(`${limited.url}${EVENTS}/tail`, {
        authorization: `Bearer ${token}`,
      });
      await limited.post(EVENTS, token, eventWith({ organizationId: organization }));
      await limited.get(EVENTS, token);
      await until(() => tail.events.length === 1);
      const cache = '/api/v1/performance/cache';
      await limited.post(`${cache}/invalidate`, token, { pattern: '*' });
      expect((await limited.get('/health')).json.info.redis.status).toBe('up');
      await tail.close();
    } finally {
      await limited.stop();
    }
    expect(await client.sendCommand(['ACL', 'LOG'])).toEqual([]);
  });
});
