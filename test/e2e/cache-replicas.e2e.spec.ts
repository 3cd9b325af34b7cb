import { createClient, type RedisClientType } from '@redis/client';
import { randomUUID } from 'node:crypto';
import { AuditPages } from '../../src/audit/read/audit-pages';
import { until } from '../integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const CACHE = '/api/v1/performance/cache';
const SCOPE = 'audit:read audit:write performance:read performance:manage';

const cacheOf = ({ headers }: Answer) => headers.get('x-cache');
const ageOf = ({ headers }: Answer) => Number(headers.get('age'));

describeWithPrivateRedis()('two replicas on one database and one Redis', () => {
  let redis: PrivateRedis;
  let client: RedisClientType;
  let one: TestService;
  let two: TestService;
  let operator: string;
  let token: string;
  let mine: string;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    client = createClient({ url: redis.url });
    await client.connect();
    const settings = { REDIS_URL: redis.url, CACHE_MAX_SIZE_MB: '1' };
    one = await TestService.start(settings);
    two = await TestService.start(settings, () => Promise.resolve(one.databaseUrl));
    operator = await tokenOf({ scope: SCOPE, organizations: ['*'] });
  });

  afterAll(async () => {
    delete process.env['REDIS_URL'];
    delete process.env['CACHE_MAX_SIZE_MB'];
    await two?.stop();
    await one?.stop();
    await client?.disconnect();
    await redis?.stop();
  });

  beforeEach(async () => {
    await remove('*');
    mine = `org-${randomUUID()}`;
    token = await tokenOf({ organizations: [mine] });
    await one.post(EVENTS, operator, eventWith({ organizationId: mine }));
  });

  const entriesOf = async (service: TestService) =>
    (await service.get(`${CACHE}/stats`, operator)).json.entries as number;

  function remove(pattern: string, service = one): Promise<Answer> {
    const path = `${CACHE}?pattern=${encodeURIComponent(pattern)}`;
    return service.request('DELETE', path, { token: operator });
  }

  async function keysInRedis(): Promise<string[]> {
    const keys: string[] = [];
    for await (const some of client.scanIterator()) keys.push(...some);
    return keys;
  }

  /** Held up until `release` is called, as a slow database would do. */
  function holdReads(): { begun: () => number; release: () => void } {
    const original = AuditPages.prototype.read; // eslint-disable-line @typescript-eslint/unbound-method -- called with its object below
    let begun = 0;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    jest.spyOn(AuditPages.prototype, 'read').mockImplementation(async function (
      this: AuditPages,
      page,
    ) {
      begun += 1;
      await gate;
      return original.call(this, page);
    });
    return { begun: () => begun, release };
  }

  afterEach(() => jest.restoreAllMocks());

  it('share their caches', async () => {
    const first = await one.get(EVENTS, token);
    await until(async () => (await keysInRedis()).length === 1);
    const second = await two.get(EVENTS, token);
    expect([first, second].map(cacheOf)).toEqual(['MISS', 'HIT']);
    expect(second.text).toBe(first.text);
    expect(second.headers.get('etag')).toBe(first.headers.get('etag'));
  });

  it('see a write through the other at once', async () => {
    for (const [writer, reader] of [
      [one, two],
      [two, one],
      [one, two],
    ] as const) {
      await reader.get(EVENTS, token);
      const action = randomUUID();
      await writer.post(EVENTS, operator, eventWith({ organizationId: mine, action }));
      const answer = await reader.get(EVENTS, token);
      expect([cacheOf(answer), eventsIn(answer)[0]?.action]).toEqual(['MISS', action]);
    }
  });

  it('take from the other nothing older than a client wants', async () => {
    await one.get(EVENTS, token);
    await until(async () => ageOf(await one.get(EVENTS, token)) >= 2);
    const answer = await two.get(EVENTS, token, { 'cache-control': 'max-age=1' });
    expect([cacheOf(answer), ageOf(answer)]).toEqual(['BYPASS', 0]);
  });

  it('remove entries together: here, there and in Redis, each counted once', async () => {
    await one.get(EVENTS, token);
    await until(async () => (await keysInRedis()).length === 1);
    await two.get(EVENTS, token); // in all three places
    await one.get(`${EVENTS}?limit=1`, token); // in one and in Redis
    await two.get(`${EVENTS}?limit=2`, token); // in the other and in Redis
    await until(async () => (await keysInRedis()).length === 3);
    expect([await entriesOf(one), await entriesOf(two)]).toEqual([2, 2]);

    expect((await remove('audit_events*', two)).json.invalidated).toBe(3);
    expect([await entriesOf(one), await entriesOf(two)]).toEqual([0, 0]);
    expect(await keysInRedis()).toEqual([]);
    expect((await remove('audit_events*', two)).json.invalidated).toBe(0);
    expect(cacheOf(await two.get(EVENTS, token))).toBe('MISS');
  });

  it('invalidate entries that one has lost and the other has', async () => {
    await two.get(EVENTS, token);
    await until(async () => (await keysInRedis()).length === 1);
    await client.flushAll();
    expect((await remove('*', one)).json.invalidated).toBe(1);
    expect(await entriesOf(two)).toBe(0);
  });

  it('do not fill Redis with responses that are too large for themselves', async () => {
    const large = eventWith({ organizationId: mine, outcomeDescription: 'x'.repeat(9000) });
    await one.post(`${EVENTS}/bulk`, operator, { events: Array.from({ length: 20 }, () => large) });
    for (const [at, directives] of ['max-age=60', 'no-cache'].entries()) {
      const headers = { 'cache-control': directives };
      expect((await one.get(EVENTS, token, headers)).text.length).toBeGreaterThan(1024 * 128);
      await one.get(`${EVENTS}?limit=${at + 1}`, token); // stored after the large one would be
      await until(async () => (await keysInRedis()).length > at);
      for (const key of await keysInRedis()) {
        expect(await client.strLen(key)).toBeLessThan(1024 * 128);
      }
    }
  });

  it('leave other keys alone', async () => {
    await client.set('api_cachex:audit_events:*:1:x', 'mine');
    await client.set('other', 'mine');
    await one.get(EVENTS, token);
    await remove('*');
    expect((await keysInRedis()).sort()).toEqual(['api_cachex:audit_events:*:1:x', 'other']);
    await client.flushAll();
  });

  it.each([
    ['an ordinary read', {}],
    ['a read past the cache', { 'cache-control': 'no-cache' }],
  ])('keep nothing of %s that was under way', async (_, headers) => {
    const held = holdReads();
    const reads = [one.get(EVENTS, token, headers)];
    await until(() => held.begun() === 1);
    await remove('*', two); // through the other
    held.release();
    expect((await Promise.all(reads)).map(({ status }) => status)).toEqual([200]);
    await one.get(`${EVENTS}?limit=1`, token); // stored after the first one would be
    await until(async () => (await keysInRedis()).length > 0);
    expect(await keysInRedis()).toHaveLength(1);
    expect([await entriesOf(one), await entriesOf(two)]).toEqual([1, 0]);
    expect(cacheOf(await one.get(EVENTS, token))).toBe('MISS');
  });

  it('read a cold key once, or a few times, for a thousand readers of both', async () => {
    const read = jest.spyOn(AuditPages.prototype, 'read');
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, at) => (at % 2 === 0 ? one : two).get(EVENTS, token)),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(read.mock.calls.length).toBeGreaterThanOrEqual(1);
    expect(read.mock.calls.length).toBeLessThanOrEqual(4);
  });

  it('ignore foreign messages on their channel', async () => {
    for (const message of ['', '{', 'null', '{"from":"x","pattern":"","tenants":"*"}', '[]']) {
      await client.publish('api_cache-invalidate', message);
    }
    await two.get(EVENTS, token);
    expect((await remove('*')).json.invalidated).toBe(1);
    expect(await entriesOf(two)).toBe(0);
  });
});
