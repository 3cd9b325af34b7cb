import { randomBytes } from 'node:crypto';
import { until } from '../integration/until.fixture';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const ALIAS = '/api/v1/performance/audit/events';
const STATS = '/api/v1/performance/cache/stats';
/** What the specs change, as the service has it by default. */
const DEFAULTS = {
  REDIS_URL: '',
  CACHE_ENABLED: 'true',
  CACHE_DEFAULT_TTL_SECONDS: '60',
  CACHE_MAX_SIZE_MB: '100',
  CACHE_EXCLUDE_ENDPOINTS: '',
  CACHE_DISABLE_PATTERNS: '',
  CACHE_TTL_OVERRIDES: '',
};

let service: TestService | undefined;
let token: string;

afterEach(async () => {
  await service?.stop();
  service = undefined;
});

afterAll(() => {
  for (const name of Object.keys(DEFAULTS)) delete process.env[name];
});

/** A service with these settings and three events. */
async function startWith(settings: Record<string, string>): Promise<TestService> {
  const started = await TestService.start({ ...DEFAULTS, ...settings });
  service = started;
  token = await tokenOf({ scope: 'audit:read audit:write performance:read performance:manage' });
  const events = [1, 2, 3].map((number) => eventWith({ action: `act.${number}` }));
  expect((await started.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  return started;
}

/** What X-Cache says when the same is asked twice. */
async function twice(path: string): Promise<(string | null)[]> {
  return [await get(path), await get(path)].map(({ headers }) => headers.get('x-cache'));
}

function get(path: string): Promise<Answer> {
  if (!service) throw new Error('Not started');
  return service.get(path, token);
}

const maxAgeOf = ({ headers }: Answer) =>
  Number(/max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1]);

const KEPT = ['MISS', 'HIT'];
const PASSED = ['BYPASS', 'BYPASS'];

describe('CACHE_ENABLED=false', () => {
  it('answers everything from the database, caches nothing, and counts that', async () => {
    const started = await startWith({ CACHE_ENABLED: 'false' });
    const id = eventsIn(await get(EVENTS))[0]?.id;
    for (const path of [EVENTS, ALIAS, `${EVENTS}/${id}`])
      expect(await twice(path)).toEqual(PASSED);
    const answer = await get(EVENTS);
    expect(eventsIn(answer)).toHaveLength(3);
    expect(maxAgeOf(answer)).toBe(0);
    expect(answer.headers.get('age')).toBeNull();
    // Validators are good without anything being kept.
    const etag = answer.headers.get('etag') ?? '';
    const again = await started.get(EVENTS, token, { 'if-none-match': etag });
    expect(again.status).toBe(304);
    const stats = await get(STATS);
    expect(stats.json).toMatchObject({
      hitRatio: 0,
      totalRequests: 0,
      excludedRequests: 9,
      entries: 0,
      sizeMB: 0,
    });
    const warmed = await started.post('/api/v1/performance/cache/warmup', token, {});
    expect(warmed.json).toMatchObject({ warmedUp: 0, failed: 0, total: 0 });
  });
});

describe('CACHE_EXCLUDE_ENDPOINTS', () => {
  it.each(['/audit/events', '/api/v1/audit'])(
    '%s: nothing that is asked for there, or below, is kept',
    async (endpoint) => {
      await startWith({ CACHE_EXCLUDE_ENDPOINTS: `/nothing,${endpoint}` });
      const id = eventsIn(await get(EVENTS))[0]?.id;
      expect(await twice(EVENTS)).toEqual(PASSED);
      expect(await twice(`${EVENTS}?limit=2`)).toEqual(PASSED);
      expect(await twice(`${EVENTS}/${id}`)).toEqual(PASSED);
      // The other name of the same list is another path.
      expect(await twice(ALIAS)).toEqual(KEPT);
      expect(await twice(EVENTS)).toEqual(PASSED);
      const { json } = await get(STATS);
      expect(json).toMatchObject({ totalHits: 1, totalMisses: 1, excludedRequests: 9, entries: 1 });
    },
  );
});

describe('CACHE_DISABLE_PATTERNS', () => {
  it.each([
    ['audit_events', PASSED, KEPT],
    ['audit_events*', PASSED, PASSED],
  ])('%s: lists %j, single events %j', async (patterns, lists, single) => {
    await startWith({ CACHE_DISABLE_PATTERNS: patterns });
    const id = eventsIn(await get(`${EVENTS}?limit=3`))[0]?.id;
    expect(await twice(EVENTS)).toEqual(lists);
    expect(await twice(`${EVENTS}/${id}`)).toEqual(single);
  });
});

describe('CACHE_DEFAULT_TTL_SECONDS', () => {
  it('is how long a response is cached', async () => {
    await startWith({ CACHE_DEFAULT_TTL_SECONDS: '1' });
    expect(await twice(EVENTS)).toEqual(KEPT);
    expect(maxAgeOf(await get(EVENTS))).toBe(1);
    await until(async () => (await get(STATS)).json.entries === 1);
    await until(async () => (await get(EVENTS)).headers.get('x-cache') === 'MISS');
  });
});

describe('CACHE_TTL_OVERRIDES', () => {
  it.each([
    ['a path', '/audit/events=3', [3, 3]],
    ['the first that matches', '/nothing=9,audit_events_by_id=4,*=5,audit_events=6', [5, 4]],
  ])('gives %s a lifetime: max-age shows it', async (_, overrides, [lists, single]) => {
    await startWith({ CACHE_TTL_OVERRIDES: overrides });
    const page = await get(EVENTS);
    expect(maxAgeOf(page)).toBe(lists);
    expect(maxAgeOf(await get(`${EVENTS}/${eventsIn(page)[0]?.id}`))).toBe(single);
  });

  it('holds for the path by which a response is requested, and for no other', async () => {
    await startWith({ CACHE_TTL_OVERRIDES: '/performance=1' });
    expect(await twice(EVENTS)).toEqual(KEPT);
    expect(maxAgeOf(await get(ALIAS))).toBe(1);
    await until(async () => Number((await get(EVENTS)).headers.get('age')) >= 2);
    const renewed = await get(ALIAS);
    expect([renewed.headers.get('x-cache'), renewed.headers.get('age')]).toEqual(['MISS', '0']);
    expect((await get(EVENTS)).headers.get('x-cache')).toBe('HIT');
  });
});

describe('CACHE_MAX_SIZE_MB', () => {
  it('bounds the cache; a response over an eighth of it is sent and not cached', async () => {
    const started = await startWith({ CACHE_MAX_SIZE_MB: '1' });
    const large = { outcomeDescription: 'x'.repeat(9000) };
    const events = Array.from({ length: 20 }, () => eventWith(large));
    await started.post(`${EVENTS}/bulk`, token, { events });
    for (let count = 0; count < 3; count += 1) {
      const answer = await get(EVENTS);
      expect(answer.headers.get('x-cache')).toBe('MISS');
      expect(answer.text.length).toBeGreaterThan(1024 * 128);
      expect(eventsIn(answer)).toHaveLength(23);
    }
    expect((await get(STATS)).json).toMatchObject({ entries: 0, sizeMB: 0, evictions: 0 });
    expect(await twice(`${EVENTS}?limit=5`)).toEqual(KEPT);

    // Each of these takes about 50 kB: the least recently used make room.
    for (let offset = 1; offset <= 40; offset += 1) {
      expect(
        (await get(`${EVENTS}?limit=5&offset=${offset % 16}&actions=test.run,a${offset}`)).status,
      ).toBe(200);
      const { json } = await get(STATS);
      expect(json.sizeMB).toBeLessThanOrEqual(1);
    }
    const { json } = await get(STATS);
    expect(json.evictions).toBeGreaterThan(0);
    expect(json.entries).toBeGreaterThan(5);
    expect(await twice(`${EVENTS}?limit=5`)).toEqual(KEPT); // pushed out, and kept again
  });

  it('counts each coding and each reader of a response', async () => {
    const started = await startWith({});
    await started.post(
      EVENTS,
      token,
      eventWith({ outcomeDescription: randomBytes(5000).toString('hex') }),
    );
    await get(EVENTS);
    const before = (await get(STATS)).json.sizeMB;
    for (let reader = 0; reader < 16; reader += 1) {
      const other = await tokenOf({ sub: `reader-${reader}` });
      for (const coding of ['gzip', 'br']) {
        const answer = await started.get(EVENTS, other, { 'accept-encoding': coding });
        expect([answer.status, answer.headers.get('x-cache')]).toEqual([200, 'HIT']);
      }
    }
    const { json } = await get(STATS);
    expect(json.entries).toBe(1);
    expect(json.sizeMB).toBeGreaterThan(before);
  });
});
