import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { expectProblem } from '../support/problem';
import { type Answer, EVENTS, listText, TestService, tokenOf } from '../support/test-service';

/** A stored event, as the model knows it. */
interface Stored {
  id: string;
  timestamp: string;
  sequence: string;
  organizationId: string;
  [member: string]: unknown;
}

const ORGANIZATIONS = ['org-1', 'org-2', 'org,3', 'Org\\4', 'org-ü'];
const STATUSES = ['attempt', 'success', 'failure'];
const CLASSES = ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'];
const NAMES = ['a', 'b', 'ä,b', 'c\\', 'd\\,'];
/** Few instants, so that many events share one; some on the border of a month. */
const TIMES = [
  '2026-07-31T23:59:59.999999Z',
  '2026-08-01T00:00:00.000000Z',
  '2026-08-01T00:00:00.000001Z',
  '2026-08-15T12:00:00.000000Z',
  '2025-12-31T23:59:59.999999Z',
  '2021-01-01T00:00:00.000000Z',
];
const LISTS = {
  principal_ids: ['principalId', NAMES],
  actions: ['action', NAMES],
  statuses: ['status', STATUSES],
  data_classifications: ['dataClassification', CLASSES],
  resource_types: ['targetResourceType', NAMES],
  resource_ids: ['targetResourceId', NAMES],
  correlation_ids: ['correlationId', NAMES],
} as const;

let service: TestService;
let all: Stored[];

beforeAll(async () => {
  service = await TestService.start({
    PAGINATION_DEFAULT_LIMIT: '7',
    PAGINATION_MAX_OFFSET: '300',
  });
  await store(fc.sample(event, { numRuns: 240, seed: 4711 }));
});

afterAll(() => service.stop());

const maybe = (values: readonly string[]) => fc.option(fc.constantFrom(...values), { freq: 4 });
const sharedIds = Array.from({ length: 30 }, () => randomUUID());
const event = fc.record({
  organizationId: fc.constantFrom(...ORGANIZATIONS),
  timestamp: fc.constantFrom(...TIMES),
  id: fc.option(fc.constantFrom(...sharedIds)),
  principalId: maybe(NAMES),
  action: fc.constantFrom(...NAMES),
  status: fc.constantFrom(...STATUSES),
  dataClassification: fc.constantFrom(...CLASSES),
  targetResourceType: maybe(NAMES),
  targetResourceId: maybe(NAMES),
  correlationId: maybe(NAMES),
});

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
  all = distinct.map((sent, index) => ({ ...sent, ...json.results[index] }) as unknown as Stored);
  expect(json.created).toBe(distinct.length);
}

interface Ask {
  mine: string[];
  organization_ids: string[] | null;
  lists: Partial<Record<keyof typeof LISTS, string[] | null>>;
  start_date: string | null;
  end_date: string | null;
  sort_field: 'timestamp' | 'sequence' | null;
  sort_direction: 'asc' | 'desc' | null;
}

const dates = fc.option(
  fc.constantFrom(
    ...TIMES,
    '2026-08-01',
    '2026-08-01T02:00:00+02:00',
    '2021-01-01T00:00:00.000001Z',
    '1970-01-01',
    '2100-01-01',
  ),
  { freq: 2 },
);
const lists = fc.record(
  Object.fromEntries(
    Object.entries(LISTS).map(([name, [, values]]) => [
      name,
      fc.option(fc.subarray([...values], { minLength: 1 }), { freq: 1 }),
    ]),
  ),
  { requiredKeys: [] },
);
const someOrganizations = fc.subarray(ORGANIZATIONS, { minLength: 1 });
const ask: fc.Arbitrary<Ask> = fc
  .record({
    mine: fc.oneof(someOrganizations, fc.constant(['*']), fc.constant(['org-1'])),
    narrowed: fc.option(fc.array(fc.nat(9), { minLength: 1, maxLength: 3 })),
    lists: fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 3, arbitrary: lists }),
    start_date: dates,
    end_date: dates,
    sort_field: fc.option(fc.constantFrom('timestamp' as const, 'sequence' as const)),
    sort_direction: fc.option(fc.constantFrom('asc' as const, 'desc' as const)),
  })
  .map(({ narrowed, ...rest }) => {
    const pool = rest.mine[0] === '*' ? ORGANIZATIONS : rest.mine;
    const picked = narrowed?.map((at) => pool[at % pool.length] ?? 'org-1') ?? null;
    return { ...rest, organization_ids: picked };
  });

function queryOf({ lists: filters, mine: _, ...rest }: Ask): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...rest, ...filters })) {
    if (value !== null && value !== undefined)
      found[name] = Array.isArray(value) ? listText(value) : value;
  }
  return found;
}

/** The whole list that the query stands for. */
function modelOf(asked: Ask): string[] {
  const organizations = asked.organization_ids ?? asked.mine;
  const micros = (text: string) => {
    const [, second = '', fraction = ''] = /^(.{19})(?:\.(\d+))?Z$/.exec(text) ?? [];
    return second === ''
      ? BigInt(Date.parse(text)) * 1000n
      : BigInt(Date.parse(`${second}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
  };
  const found = all.filter((one) => {
    if (organizations[0] !== '*' && !organizations.includes(one.organizationId)) return false;
    if (asked.start_date !== null && micros(one.timestamp) < micros(asked.start_date)) return false;
    if (asked.end_date !== null && micros(one.timestamp) >= micros(asked.end_date)) return false;
    return Object.entries(LISTS).every(([name, [member]]) => {
      const values = asked.lists[name as keyof typeof LISTS];
      return !values || values.includes(one[member] as string);
    });
  });
  const bytes = (text: string) => Buffer.from(text).toString('hex');
  const keyOf = (one: Stored) =>
    asked.sort_field === 'sequence'
      ? [one.sequence.padStart(20, '0'), bytes(one.organizationId)]
      : [one.timestamp, one.id, bytes(one.organizationId)];
  const sign = asked.sort_direction === 'asc' ? 1 : -1;
  return found
    .map((one) => ({ one, key: keyOf(one).join(' ') }))
    .sort((a, b) => sign * (a.key < b.key ? -1 : 1))
    .map(({ one }) => nameOf(one));
}

const nameOf = ({ id, organizationId }: { id: string; organizationId: string }) =>
  `${organizationId} ${id}`;
const namesIn = ({ json }: Answer): string[] => json.data.map(nameOf);

async function page(token: string, query: Record<string, string>): Promise<Answer> {
  const answer = await service.get(`${EVENTS}?${new URLSearchParams(query).toString()}`, token);
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

describe('pages equal the slices of the whole list', () => {
  it('forward and back, by cursor and by Link', async () => {
    await fc.assert(
      fc.asyncProperty(ask, fc.integer({ min: 1, max: 60 }), async (asked, atLeast) => {
        const token = await tokenOf({ organizations: asked.mine });
        const model = modelOf(asked);
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
          const model = modelOf(asked);
          fc.pre(model.length > 0);
          const offset = place % model.length;
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
            expect(namesIn(before)).toEqual(model.slice(Math.max(0, offset - limit), offset));
            expect(before.json.pagination.hasPrevious).toBe(offset > limit);
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
    expect((await service.get(linksOf(answer).prev ?? '', token)).status).toBe(200);
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

describe('a cursor', () => {
  const query = { limit: '3', actions: 'a,b', sort_field: 'timestamp', sort_direction: 'desc' };
  let cursor: string;
  let token: string;

  beforeAll(async () => {
    token = await tokenOf({ organizations: ['org-1', 'org-2'] });
    cursor = (await page(token, query)).json.pagination.nextCursor;
  });

  const refused = async (who: string, changed: Record<string, string>, code = 'INVALID_CURSOR') => {
    const parameters = new URLSearchParams({ ...query, cursor, ...changed }).toString();
    expectProblem(await service.get(`${EVENTS}?${parameters}`, who), 400, code);
  };

  it('is good again for the same query, however that is spelt, and for another token of the same principal', async () => {
    const other = await tokenOf({ organizations: ['org-2', 'org-1'], iat: 1 });
    const { text } = await page(token, { ...query, cursor });
    const spelt = { limit: '3', actions: 'b,a,a', organization_ids: 'org-2,org-1', cursor };
    expect((await page(other, spelt)).text).toBe(text);
    expect((await page(token, { ...query, limit: '1', cursor })).json.data).toHaveLength(1);
  });

  it('of another principal, filter, sort or set of organizations is refused', async () => {
    await refused(await tokenOf({ sub: 'mallory', organizations: ['org-1', 'org-2'] }), {});
    await refused(await tokenOf({ organizations: ['org-1'] }), {});
    await refused(await tokenOf({ organizations: ['*'] }), {});
    await refused(token, { organization_ids: 'org-1' });
    await refused(token, { actions: 'a' });
    await refused(token, { statuses: 'success' });
    await refused(token, { start_date: '2020-01-01' });
    await refused(token, { end_date: '2030-01-01' });
    await refused(token, { sort_direction: 'asc' });
    await refused(token, { sort_field: 'sequence' });
  });

  it('with any one character changed, cut off or added is refused', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ .';
    await fc.assert(
      fc.asyncProperty(
        fc.nat(cursor.length),
        fc.nat(1),
        fc.constantFrom(...alphabet, ''),
        async (at, cut, put) => {
          const changed = `${cursor.slice(0, at)}${put}${cursor.slice(at + cut)}`;
          fc.pre(changed !== cursor);
          await refused(token, { cursor: changed });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('made of garbage is refused', async () => {
    for (const garbage of [
      'x',
      'null',
      '{}',
      '0',
      'A'.repeat(4096),
      '\u2028',
      '../..',
      cursor.repeat(2),
    ]) {
      await refused(token, { cursor: garbage });
    }
    await refused(token, { cursor: '' }, 'VALIDATION_FAILED');
    await refused(token, { cursor: 'A'.repeat(4097) }, 'VALIDATION_FAILED');
    await refused(token, { cursor: 'a\0b' }, 'VALIDATION_FAILED');
    await refused(token, { offset: '0' }, 'VALIDATION_FAILED');
  });
});

describe('a total', () => {
  it('is exact up to 10 000 and says so when it is not', async () => {
    const organizationId = 'org-many';
    const token = await tokenOf({ organizations: [organizationId] });
    const events = Array.from({ length: 9_999 }, () => ({
      organizationId,
      action: 'a',
      status: 'success',
    }));
    const totals = async () =>
      (await page(token, { include_total: 'true', limit: '1' })).json.pagination;
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
    expect(await totals()).toMatchObject({ total: 9_999, totalIsExact: true });
    await service.post(EVENTS, token, events[0]);
    expect(await totals()).toMatchObject({ total: 10_000, totalIsExact: true });
    await service.post(EVENTS, token, events[0]);
    expect(await totals()).toMatchObject({ total: 10_000, totalIsExact: false });
    expect((await page(token, { include_total: 'false' })).json.pagination).not.toHaveProperty(
      'total',
    );
  });
});
