import * as fc from 'fast-check';
import { FIRST_ROWS } from '../../src/audit/read/read-pace';
import { ReadScheduler } from '../../src/audit/read/read-scheduler';
import {
  ask,
  modelOf,
  nameOf,
  queryOf,
  sampleEvent,
  type Stored,
  storedOf,
} from '../support/page-model';
import { type Answer, EVENTS, eventsIn, TestService, tokenOf } from '../support/test-service';

let service: TestService;
let all: Stored[];

beforeAll(async () => {
  service = await TestService.start({
    PAGINATION_DEFAULT_LIMIT: '7',
    PAGINATION_MAX_OFFSET: '300',
  });
  await store(fc.sample(sampleEvent, { numRuns: 240, seed: 4711 }));
});

afterAll(() => service.stop());

/** Stores events, each id once in its organization, and fills the model with what was stored. */
async function store(events: { organizationId: string; id: string | null }[]): Promise<void> {
  const operator = await tokenOf({ organizations: ['*'] });
  const seen = new Set<string>();
  const distinct = events.filter(({ id, organizationId }) => {
    const key = `${id} ${organizationId}`;
    if (id !== null && seen.has(key)) return false;
    return seen.add(key);
  });
  const { json } = await service.post(`${EVENTS}/bulk`, operator, { events: distinct });
  all = storedOf(distinct, json.results);
  expect(json.created).toBe(distinct.length);
}

const namesIn = (answer: Answer): string[] => eventsIn(answer).map(nameOf);

/** Read anew: another run may have left the page in the cache. */
async function page(token: string, query: Record<string, string>): Promise<Answer> {
  const path = `${EVENTS}?${new URLSearchParams(query).toString()}`;
  const answer = await service.get(path, token, { 'cache-control': 'no-cache' });
  expect({ status: answer.status, text: answer.text.slice(0, 500) }).toMatchObject({ status: 200 });
  return answer;
}

/** Targets of the Link header by relation. */
function linksOf({ headers }: Answer): Record<string, string> {
  const found = [...(headers.get('link') ?? '').matchAll(/<([^>]*)>; rel="(\w+)"/g)];
  return Object.fromEntries(found.map(([, target, rel]) => [rel, target]));
}

function expectSlice(answer: Answer, model: string[], from: number, limit: number): void {
  expect(namesIn(answer)).toEqual(model.slice(from, from + limit));
  const { pagination } = answer.json;
  expect(pagination).toMatchObject({
    limit,
    hasNext: from + limit < model.length,
    hasPrevious: from > 0,
  });
  expect(pagination.nextCursor !== undefined).toBe(pagination.hasNext);
  expect(pagination.previousCursor !== undefined).toBe(pagination.hasPrevious);
  expect(Object.keys(linksOf(answer))).toEqual([
    'first',
    ...(from > 0 ? ['prev'] : []),
    ...(pagination.hasNext ? ['next'] : []),
  ]);
}

describe.each([
  ['found at once', FIRST_ROWS],
  ['searched in portions of three rows', 3],
])('pages equal the slices of the whole list, %s', (_, firstRows) => {
  beforeAll(() => {
    service.provider(ReadScheduler).pace.firstRows = firstRows;
  });

  it('forward and back, by cursor and by Link', async () => {
    await fc.assert(
      fc.asyncProperty(ask, fc.integer({ min: 1, max: 60 }), async (asked, atLeast) => {
        const token = await tokenOf({ organizations: asked.mine });
        const model = modelOf(all, asked);
        const limit = Math.max(atLeast, Math.ceil(model.length / 8)); // a handful of pages each way
        const query = { ...queryOf(asked), limit: String(limit) };
        let answer = await page(token, query);
        expectSlice(answer, model, 0, limit);
        expect(answer.json.pagination.offset).toBe(0);
        let from = 0;
        for (; answer.json.pagination.hasNext; from += limit) {
          const link = linksOf(answer).next ?? '';
          answer = await page(token, { ...query, cursor: answer.json.pagination.nextCursor });
          expectSlice(answer, model, from + limit, limit);
          expect(answer.json.pagination).not.toHaveProperty('offset');
          expect((await service.get(link, token)).text).toBe(answer.text);
        }
        for (; from > 0; from -= limit) {
          const link = linksOf(answer).prev ?? '';
          answer = await page(token, { ...query, cursor: answer.json.pagination.previousCursor });
          expectSlice(answer, model, from - limit, limit);
          expect((await service.get(link, token)).text).toBe(answer.text);
        }
        const first = await service.get(linksOf(answer).first ?? '', token);
        expect(namesIn(first)).toEqual(model.slice(0, limit));
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  it('by offset, with a total, and with cursors that go on from there', async () => {
    await fc.assert(
      fc.asyncProperty(
        ask,
        fc.integer({ min: 1, max: 50 }),
        fc.nat(1000),
        async (asked, limit, place) => {
          const token = await tokenOf({ organizations: asked.mine });
          const model = modelOf(all, asked);
          fc.pre(model.length > 0);
          const offset = place % (model.length + limit); // some beyond the end
          const query = { ...queryOf(asked), limit: String(limit) };
          const answer = await page(token, {
            ...query,
            offset: String(offset),
            include_total: 'true',
          });
          expectSlice(answer, model, offset, limit);
          expect(answer.json.pagination).toMatchObject({
            offset,
            total: model.length,
            totalIsExact: true,
          });
          const { nextCursor, previousCursor } = answer.json.pagination;
          if (nextCursor) {
            expectSlice(
              await page(token, { ...query, cursor: nextCursor }),
              model,
              offset + limit,
              limit,
            );
          }
          if (previousCursor) {
            const before = await page(token, { ...query, cursor: previousCursor });
            const passed = Math.min(offset, model.length);
            expect(namesIn(before)).toEqual(model.slice(Math.max(0, passed - limit), passed));
            expect(before.json.pagination.hasPrevious).toBe(passed > limit);
          }
        },
      ),
      { numRuns: 80 },
    );
  }, 120_000);

  it('beyond the end are empty and lead back', async () => {
    const token = await tokenOf({ organizations: ['*'] });
    const answer = await page(token, { offset: '300' });
    expect(answer.json).toMatchObject({
      data: [],
      pagination: { hasNext: false, hasPrevious: true },
    });
    const last = await service.get(linksOf(answer).prev ?? '', token);
    const whole = namesIn(await page(token, { limit: '1000' }));
    expect(namesIn(last)).toEqual(whole.slice(-7));
  });

  it('of an empty list have nothing before or after them, at any offset', async () => {
    const token = await tokenOf({ organizations: ['org-1'] });
    for (const offset of ['0', '5']) {
      const answer = await page(token, {
        actions: 'nobody did this',
        offset,
        include_total: 'true',
      });
      expect(answer.json).toMatchObject({
        data: [],
        pagination: { total: 0, hasNext: false, hasPrevious: false },
      });
    }
  });

  it('have the configured size when none is asked for', async () => {
    const answer = await page(await tokenOf({ organizations: ['*'] }), {});
    expect(answer.json.pagination.limit).toBe(7);
    expect(answer.json.data).toHaveLength(7);
  });
});
