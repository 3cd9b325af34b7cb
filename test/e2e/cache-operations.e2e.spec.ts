import { randomUUID } from 'node:crypto';
import { expectProblem, pathsOf } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const CACHE = '/api/v1/performance/cache';

let service: TestService;
let mine: string;
let foreign: string;
let operator: string;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
  operator = await tokenOf({
    scope: 'audit:read audit:write performance:read performance:manage',
    organizations: ['*'],
  });
});

afterAll(() => service.stop());

beforeEach(async () => {
  await remove('*', operator);
  [mine, foreign] = [`org-${randomUUID()}`, `org-${randomUUID()}`];
  for (const organizationId of [mine, foreign]) {
    await service.post(EVENTS, operator, eventWith({ organizationId }));
  }
});

const cacheOf = ({ headers }: Answer) => headers.get('x-cache');
const readerOf = (...organizations: string[]) => tokenOf({ sub: 'reader', organizations });
const managerOf = (...organizations: string[]) =>
  tokenOf({ scope: 'performance:manage', organizations });
const stats = async () => (await service.get(`${CACHE}/stats`, operator)).json;

function remove(pattern: string, token: string): Promise<Answer> {
  return service.request('DELETE', `${CACHE}?pattern=${encodeURIComponent(pattern)}`, { token });
}

/** Has two pages and an event of `mine`, a page of `foreign`, one of both and one of all kept: six entries. */
async function fill(): Promise<void> {
  const reader = await readerOf(mine);
  const page = await service.get(EVENTS, reader);
  await service.get(`${EVENTS}?limit=1`, reader);
  await service.get(`${EVENTS}/${eventsIn(page)[0]?.id}`, reader);
  await service.get(EVENTS, await readerOf(foreign));
  await service.get(EVENTS, await readerOf(mine, foreign));
  await service.get(EVENTS, operator);
}

describe('the statistics', () => {
  it('have the documented shape and count operations', async () => {
    const before = await stats();
    const reader = await readerOf(mine);
    await service.get(EVENTS, reader); // miss
    for (let count = 0; count < 3; count += 1) await service.get(EVENTS, reader); // hits
    await service.get(EVENTS, reader, { 'cache-control': 'no-cache' }); // excluded
    await service.get(`${EVENTS}?limit=0`, reader); // no cacheable answer
    const after = await stats();
    expect(Object.keys(after)).toEqual(
      expect.arrayContaining([
        'hitRatio',
        'totalRequests',
        'totalHits',
        'totalMisses',
        'excludedRequests',
        'entries',
        'sizeMB',
      ]),
    );
    const difference = (name: string) => after[name] - before[name];
    expect([difference('totalHits'), difference('totalMisses')]).toEqual([3, 1]);
    expect([difference('totalRequests'), difference('excludedRequests')]).toEqual([4, 1]);
    expect(after.hitRatio).toBeCloseTo((100 * after.totalHits) / after.totalRequests, 1);
    expect(after.entries).toBe(1);
    expect(after.sharedTier).toBe('none');
    expect(after.namespaces.audit_events.totalRequests).toBe(after.totalRequests);
  });

  it('need performance:read', async () => {
    const reader = await readerOf(mine);
    expectProblem(await service.get(`${CACHE}/stats`, reader), 403, 'FORBIDDEN');
    expectProblem(await service.get(`${CACHE}/stats`), 401, 'UNAUTHENTICATED');
  });
});

describe('an invalidation', () => {
  it.each([
    ['*', 6],
    ['audit_events*', 6],
    ['audit_events', 5],
    ['audit_events:*', 5],
    ['audit_events_by_id', 1],
    ['api_cache:audit_events_by_id:*', 1],
    ['audit_events:MINE', 2],
    ['audit_events:MINE:*', 2],
    ['*:MINE:*', 3],
    ['*FOREIGN*', 2],
    ['audit_events:\\*:*', 0],
    ['audit', 0],
    ['audit_event?:*', 0],
    ['[a]udit_events*', 0],
    ['AUDIT_EVENTS*', 0],
  ])('of %s removes %d of six, and nothing the second time', async (pattern, count) => {
    await fill();
    expect((await stats()).entries).toBe(6);
    const spelled = pattern.replace('MINE', mine).replace('FOREIGN', foreign);
    const askedMs = Date.now();
    const first = await remove(spelled, operator);
    expect(first.status).toBe(200);
    expect(Object.keys(first.json)).toEqual(['pattern', 'invalidated', 'timestamp']);
    expect(first.json).toMatchObject({ pattern: spelled, invalidated: count });
    const doneMs = Date.parse(first.json.timestamp);
    expect([askedMs, doneMs, Date.now()].sort((a, b) => a - b)[1]).toBe(doneMs);
    expect((await stats()).entries).toBe(6 - count);
    expect((await remove(spelled, operator)).json.invalidated).toBe(0);
  });

  it('makes the next read a miss', async () => {
    await fill();
    const reader = await readerOf(mine);
    expect(cacheOf(await service.get(EVENTS, reader))).toBe('HIT');
    await remove('audit_events*', await managerOf(mine));
    expect(cacheOf(await service.get(EVENTS, reader))).toBe('MISS');
  });

  it('by a manager removes entries wholly of its organizations, and nothing else', async () => {
    await fill();
    expect((await remove('*', await managerOf(mine))).json.invalidated).toBe(3);
    for (const who of [await readerOf(foreign), await readerOf(mine, foreign), operator]) {
      expect(cacheOf(await service.get(EVENTS, who))).toBe('HIT');
    }
    expect((await remove(`*${foreign}*`, await managerOf(mine))).json.invalidated).toBe(0);
    expect((await remove('*', await managerOf())).json.invalidated).toBe(0);
    expect((await remove('*', await managerOf(mine, foreign))).json.invalidated).toBe(2);
    expect((await stats()).entries).toBe(1); // that of all organizations
  });

  it.each(['', 'x'.repeat(513), 'a\u0000b', 'a\nb'])('refuses the pattern %j', async (pattern) => {
    const answer = await remove(pattern, operator);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(new Set(pathsOf(answer))).toEqual(new Set(['pattern']));
  });

  it('refuses a missing pattern and unknown parameters', async () => {
    const missing = await service.request('DELETE', CACHE, { token: operator });
    expectProblem(missing, 400, 'VALIDATION_FAILED');
    expect(pathsOf(missing)).toEqual(['pattern']);
    const unknown = await service.request('DELETE', `${CACHE}?pattern=*&x=1`, { token: operator });
    expectProblem(unknown, 400, 'VALIDATION_FAILED');
  });

  it('needs performance:manage', async () => {
    await fill();
    const reader = await tokenOf({ scope: 'audit:read performance:read', organizations: ['*'] });
    expectProblem(await remove('*', reader), 403, 'FORBIDDEN');
    expect((await stats()).entries).toBe(6);
  });

  it('answers patterns that would keep a naive matcher busy for ever', async () => {
    await fill();
    for (const pattern of [`${'*a'.repeat(255)}b`, '*'.repeat(512), `${'a*'.repeat(255)}[`]) {
      expect((await remove(pattern, operator)).status).toBe(200);
    }
  });
});
