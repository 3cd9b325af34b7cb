import { randomUUID } from 'node:crypto';
import { expectProblem } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const ALIAS = '/api/v1/performance/audit/events';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
});

afterAll(() => service.stop());

const cacheOf = ({ headers }: Answer) => headers.get('x-cache');

/** Two organizations that no other spec knows, each with a few events. */
async function newOrganizations(): Promise<[string, string]> {
  const ids: [string, string] = [`org-${randomUUID()}`, `org-${randomUUID()}`];
  const token = await tokenOf({ sub: 'writer', organizations: ids });
  for (const organizationId of ids) {
    const events = Array.from({ length: 5 }, (_, index) =>
      eventWith({ organizationId, action: `act.${index}`, principalId: organizationId }),
    );
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  }
  return ids;
}

const readerOf = (sub: string, ...organizations: string[]) => tokenOf({ sub, organizations });

describe('a cached response', () => {
  it('is read once and then given again', async () => {
    const [mine] = await newOrganizations();
    const token = await readerOf('alice', mine);
    const first = await service.get(EVENTS, token);
    const second = await service.get(EVENTS, token);
    expect([first, second].map(cacheOf)).toEqual(['MISS', 'HIT']);
    expect(second.text).toBe(first.text);
    expect(eventsIn(second)).toHaveLength(5);
  });

  it('serves every reader of the same organizations, each with cursors of his own', async () => {
    const [mine] = await newOrganizations();
    const [alice, bob] = [await readerOf('alice', mine), await readerOf('bob', mine)];
    const path = `${EVENTS}?limit=2`;
    const hers = await service.get(path, alice);
    const his = await service.get(path, bob);
    expect([hers, his].map(cacheOf)).toEqual(['MISS', 'HIT']);
    expect(eventsIn(his)).toEqual(eventsIn(hers));
    const cursors = [hers, his].map(({ json }) => String(json.pagination.nextCursor));
    expect(cursors[0]).not.toBe(cursors[1]);
    expect(his.headers.get('link')).toContain(`cursor=${cursors[1]}`);

    const [hisNext, herNext] = [
      await service.get(`${path}&cursor=${cursors[1]}`, bob),
      await service.get(`${path}&cursor=${cursors[0]}`, alice),
    ];
    // The page behind both cursors is the same, so it is kept once.
    expect([hisNext, herNext].map(cacheOf)).toEqual(['MISS', 'HIT']);
    expect(eventsIn(hisNext)).toEqual(eventsIn(herNext));
    expectProblem(await service.get(`${path}&cursor=${cursors[0]}`, bob), 400, 'INVALID_CURSOR');
    expectProblem(await service.get(`${path}&cursor=${cursors[1]}`, alice), 400, 'INVALID_CURSOR');
  });

  it('is the same for a list with commas and for the parameter repeated', async () => {
    const [mine] = await newOrganizations();
    const token = await readerOf('alice', mine);
    const commas = await service.get(`${EVENTS}?actions=act.1,act.2&limit=1`, token);
    const repeated = await service.get(`${EVENTS}?actions=act.2&limit=1&actions=act.1`, token);
    expect([commas, repeated].map(cacheOf)).toEqual(['MISS', 'HIT']);
    expect(repeated.text).toBe(commas.text);
    const [, next = ''] = /<([^>]*)>; rel="next"/.exec(repeated.headers.get('link') ?? '') ?? [];
    expect(next).toContain('actions=act.2&limit=1&actions=act.1&cursor=');
    const { nextCursor } = commas.json.pagination;
    const second = `${EVENTS}?actions=act.1,act.2&limit=1&cursor=${nextCursor}`;
    expect((await service.get(second, token)).text).toBe((await service.get(next, token)).text);
  });

  it('serves the same user under a new token', async () => {
    const [mine] = await newOrganizations();
    const first = await service.get(EVENTS, await readerOf('alice', mine));
    const later = Math.floor(Date.now() / 1000) + 7200;
    const renewed = await tokenOf({ sub: 'alice', organizations: [mine], exp: later });
    const second = await service.get(EVENTS, renewed);
    expect(cacheOf(second)).toBe('HIT');
    expect(second.text).toBe(first.text);
  });

  it('is never given to readers of other organizations, whatever both ask for', async () => {
    const [mine, foreign] = await newOrganizations();
    const tokens = {
      mine: await readerOf('alice', mine),
      foreign: await readerOf('alice', foreign),
      both: await readerOf('alice', mine, foreign),
      all: await readerOf('alice', '*'),
      none: await tokenOf({ sub: 'alice', organizations: [] }),
    };
    for (const path of [EVENTS, `${EVENTS}?actions=act.1`, `${EVENTS}?include_total=true`]) {
      const seen = new Map<string, Answer>();
      for (const [name, token] of Object.entries(tokens)) {
        seen.set(name, await service.get(path, token));
      }
      expect([...seen.values()].map(cacheOf)).toEqual(['MISS', 'MISS', 'MISS', 'MISS', 'MISS']);
      // Now that all are kept, each still gets his own.
      for (const [name, token] of Object.entries(tokens)) {
        const again = await service.get(path, token);
        expect(cacheOf(again)).toBe('HIT');
        expect(again.text).toBe(seen.get(name)?.text);
        const organizations = new Set(eventsIn(again).map(({ organizationId }) => organizationId));
        if (name === 'mine') expect(organizations).toEqual(new Set([mine]));
        if (name === 'foreign') expect(organizations).toEqual(new Set([foreign]));
        if (name === 'both') expect(organizations).toEqual(new Set([mine, foreign]));
        if (name === 'none') expect(organizations).toEqual(new Set());
      }
    }
  });

  it('is not given to an unauthorized principal', async () => {
    const [mine, foreign] = await newOrganizations();
    const path = `${EVENTS}?organization_ids=${mine}`;
    const token = await readerOf('alice', mine);
    const page = await service.get(path, token);
    const one = `${EVENTS}/${eventsIn(page)[0]?.id}`;
    await service.get(one, token);
    expect(cacheOf(await service.get(path, token))).toBe('HIT');
    expect(cacheOf(await service.get(one, token))).toBe('HIT');

    const stranger = await readerOf('alice', foreign);
    expectProblem(await service.get(path, stranger), 403, 'FORBIDDEN');
    expectProblem(await service.get(one, stranger), 404, 'NOT_FOUND');
    const unscoped = await tokenOf({ organizations: [mine], scope: 'audit:write' });
    expectProblem(await service.get(path, unscoped), 403, 'FORBIDDEN');
    expectProblem(await service.get(path), 401, 'UNAUTHENTICATED');
    const expired = await tokenOf({ organizations: [mine], exp: 1_600_000_000 });
    expectProblem(await service.get(path, expired), 401, 'UNAUTHENTICATED');
  });
});

describe('the cached request', () => {
  it.each([
    ['its other name', ALIAS, EVENTS],
    ['the limit that is the default', `${EVENTS}?limit=50`, EVENTS],
    ['the sort that is the default', `${EVENTS}?sort_field=timestamp&sort_direction=desc`, EVENTS],
    ['offset 0', `${EVENTS}?offset=0`, EVENTS],
    ['no total', `${EVENTS}?include_total=false`, EVENTS],
    ['the order of a list', `${EVENTS}?actions=act.2,act.1`, `${EVENTS}?actions=act.1,act.2`],
    ['a value named twice', `${EVENTS}?actions=act.1,act.1`, `${EVENTS}?actions=act.1`],
    [
      'the order of filters',
      `${EVENTS}?statuses=success&actions=act.1`,
      `${ALIAS}?actions=act.1&statuses=success`,
    ],
    [
      'the offset of an instant',
      `${EVENTS}?start_date=2026-01-01T01:00:00%2B01:00`,
      `${EVENTS}?start_date=2026-01-01`,
    ],
  ])('may be spelled in other ways: %s', async (_, one, other) => {
    const [mine] = await newOrganizations();
    const token = await readerOf('alice', mine);
    const answers = [await service.get(one, token), await service.get(other, token)];
    expect(answers.map(cacheOf)).toEqual(['MISS', 'HIT']);
    const [first, second] = answers.map(eventsIn);
    expect(second).toEqual(first);
  });

  it('may name its organizations in any order, or leave out that it wants all of its own', async () => {
    const [one, two] = (await newOrganizations()).sort();
    const token = await readerOf('alice', two ?? '', one ?? '');
    const answers = [
      await service.get(`${EVENTS}?organization_ids=${two},${one}`, token),
      await service.get(`${EVENTS}?organization_ids=${one},${two}`, token),
      await service.get(EVENTS, token),
    ];
    expect(answers.map(cacheOf)).toEqual(['MISS', 'HIT', 'HIT']);
    expect(new Set(answers.map((answer) => JSON.stringify(eventsIn(answer)))).size).toBe(1);
  });

  it.each([
    ['limit', '?limit=49'],
    ['offset', '?offset=1'],
    ['total', '?include_total=true'],
    ['direction', '?sort_direction=asc'],
    ['field', '?sort_field=sequence'],
    ['filter', '?actions=act.1'],
    ['other filter', '?resource_types=act.1'],
    ['date', '?start_date=2026-01-01'],
  ])('is told apart by %s', async (_, query) => {
    const [mine] = await newOrganizations();
    const token = await readerOf('alice', mine);
    await service.get(EVENTS, token);
    const other = await service.get(`${EVENTS}${query}`, token);
    expect(cacheOf(other)).toBe('MISS');
    const fresh = await service.get(`${EVENTS}${query}`, token, { 'cache-control': 'no-cache' });
    expect(other.text).toBe(fresh.text);
  });
});
