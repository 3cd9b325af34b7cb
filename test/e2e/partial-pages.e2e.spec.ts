import * as fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { FIRST_ROWS, ReadPace, SHORT_MS } from '../../src/audit/read/read-pace';
import { ReadScheduler } from '../../src/audit/read/read-scheduler';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { fetchExport } from '../support/export-client';
import {
  ask,
  modelOf,
  nameOf,
  queryOf,
  sampleEvent,
  type Stored,
  storedOf,
} from '../support/page-model';
import { expectProblem } from '../support/problem';
import { protocolsOf } from '../support/protocols';
import { TailClient } from '../support/tail-client';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';
import { trpcClient } from '../support/trpc-client';

let service: TestService;
let admin: Client;

beforeAll(async () => {
  service = await TestService.start({
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    MONITORING_ENABLED: 'false',
  });
  admin = await service.connect();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

const USUAL = { firstRows: FIRST_ROWS, budgetMs: 5000, shortMs: SHORT_MS };

/** Each read looks at so many rows of an organization, and its time is over. */
function readFew(firstRows: number): void {
  Object.assign(service.provider(ReadScheduler).pace, { firstRows, budgetMs: 0 });
}

afterEach(() => {
  Object.assign(service.provider(ReadScheduler).pace, USUAL);
  jest.restoreAllMocks();
});

type Query = Record<string, string>;

async function page(token: string, query: Query): Promise<Answer> {
  const path = `${EVENTS}?${new URLSearchParams(query).toString()}`;
  const answer = await service.get(path, token, { 'cache-control': 'no-cache' });
  expect({ status: answer.status, text: answer.text.slice(0, 500) }).toMatchObject({ status: 200 });
  return answer;
}

const namesIn = (answer: Answer): string[] => eventsIn(answer).map(nameOf);

function linkIn({ headers }: Answer, rel: string): string | undefined {
  return new RegExp(`<([^>]*)>; rel="${rel}"`).exec(headers.get('link') ?? '')?.[1];
}

const newOrganization = () => `org-${randomUUID()}`;

async function record(organizationId: string, count: number, members: object = {}): Promise<void> {
  const events = Array.from({ length: count }, () => eventWith({ organizationId, ...members }));
  const token = await tokenOf({ organizations: [organizationId] });
  expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
}

describe('partial pages, put together', () => {
  let all: Stored[];

  beforeAll(async () => {
    const seen = new Set<string>();
    const events = fc.sample(sampleEvent, { numRuns: 200, seed: 815 }).filter((event) => {
      const { id, organizationId } = event as unknown as Stored;
      const key = `${id} ${organizationId}`;
      return (id as string | null) === null || (!seen.has(key) && seen.add(key));
    });
    const operator = await tokenOf({ organizations: ['*'] });
    const { json } = await service.post(`${EVENTS}/bulk`, operator, { events });
    all = storedOf(events, json.results);
    expect(json.created).toBe(events.length);
  });

  it('are the whole list, forward and back, with an offset and without', async () => {
    let partialPages = 0;
    await fc.assert(
      fc.asyncProperty(
        ask,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 7 }),
        fc.option(fc.nat(50)),
        async (asked, limit, rows, offset) => {
          readFew(rows);
          const token = await tokenOf({ organizations: asked.mine });
          const model = modelOf(all, asked).slice(offset ?? 0);
          const query = { ...queryOf(asked), limit: String(limit) };
          const found: string[] = [];
          let answer = await page(token, { ...query, ...(offset ? { offset: `${offset}` } : {}) });
          for (let pages = 1; ; pages += 1) {
            const { partial, hasNext, nextCursor, hasPrevious } = answer.json.pagination;
            expect(pages).toBeLessThan(all.length + 20); // each page comes further
            expect(namesIn(answer).length).toBeLessThanOrEqual(limit);
            expect([true, undefined]).toContain(partial);
            if (partial) expect(hasNext).toBe(true);
            partialPages += partial ? 1 : 0;
            expect(nextCursor !== undefined).toBe(hasNext);
            expect('previousCursor' in answer.json.pagination).toBe(hasPrevious);
            found.push(...namesIn(answer));
            if (!hasNext) break;
            const link = linkIn(answer, 'next') ?? '';
            const next = await service.get(link, token, { 'cache-control': 'no-cache' });
            answer = await page(token, { ...query, cursor: nextCursor });
            expect(next.text).toBe(answer.text);
          }
          expect(found).toEqual(model);
          const lastPage = namesIn(answer);
          const back: string[] = [];
          for (let pages = 1; answer.json.pagination.previousCursor !== undefined; pages += 1) {
            expect(pages).toBeLessThan(all.length + 20);
            const { previousCursor: cursor } = answer.json.pagination;
            answer = await page(token, { ...query, cursor });
            expect(answer.json.pagination.hasNext).toBe(true);
            expect(answer.json.pagination).toHaveProperty('nextCursor');
            back.unshift(...namesIn(answer));
          }
          const whole = modelOf(all, asked);
          expect(back).toEqual(whole.slice(0, whole.length - lastPage.length));
        },
      ),
      { numRuns: 60 },
    );
    expect(partialPages).toBeGreaterThan(100);
  }, 240_000);

  /** Lists of events of which some are rare: by each field and direction, with the offsets that end in, at and beyond them. */
  const offsetLists = (['timestamp', 'sequence'] as const).flatMap((sort_field) =>
    (['asc', 'desc'] as const).flatMap((sort_direction) =>
      [1, 2, 3, 4, 5, 6].map((offset) => ({ sort_field, sort_direction, offset })),
    ),
  );

  /** Records events of which these are rare, each a second after the one before. */
  async function recordPattern(organizationId: string, pattern: readonly boolean[]): Promise<void> {
    for (const [index, isRare] of pattern.entries()) {
      const timestamp = new Date(Date.UTC(2026, 7, 1, 0, 0, index)).toISOString();
      await record(organizationId, 1, { timestamp, action: isRare ? 'rare' : 'other' });
    }
  }

  describe('within an offset', () => {
    const organizationId = newOrganization();
    const pattern = [0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1].map(Boolean);
    const ROWS = 2;
    let token: string;

    beforeAll(async () => {
      token = await tokenOf({
        organizations: [organizationId],
        scope: 'audit:read audit:write audit:export',
      });
      await recordPattern(organizationId, pattern);
    });

    it.each(offsetLists)(
      'lead from each page to all before it: %j',
      async ({ offset, ...sort }) => {
        const query = { actions: 'rare', ...sort };
        const whole = namesIn(await page(token, { ...query, limit: '1000' }));
        const rows = sort.sort_direction === 'asc' ? pattern : pattern.toReversed();
        /** Rare events in what the pages up to the one at `index` have looked at. */
        const passedBy = (index: number) =>
          rows.slice(0, (index + 1) * ROWS).filter((isRare) => isRare).length;
        readFew(ROWS);
        let answer = await page(token, { ...query, offset: `${offset}` });
        let found = 0;
        for (let index = 0; ; index += 1) {
          const { hasNext, hasPrevious, nextCursor, previousCursor, resumeCursor } =
            answer.json.pagination;
          const names = namesIn(answer);
          const isBegun = names.length > 0 || found > 0;
          const passed = isBegun ? offset + found : Math.min(offset, passedBy(index));
          expect(names).toEqual(whole.slice(passed, passed + names.length));
          expect(hasPrevious).toBe(passed > 0 || index > 0);
          expect(previousCursor !== undefined).toBe(hasPrevious);
          found += names.length;
          const usual = async (cursor: string) => {
            Object.assign(service.provider(ReadScheduler).pace, USUAL);
            return namesIn(await page(token, { ...query, cursor, limit: '1000' }));
          };
          if (previousCursor) expect(await usual(previousCursor)).toEqual(whole.slice(0, passed));
          if (resumeCursor) expect(await usual(resumeCursor)).toEqual([]);
          if (sort.sort_field === 'sequence' && sort.sort_direction === 'asc')
            expect(resumeCursor !== undefined).toBe(!hasNext);
          if (!hasNext) break;
          const exported = await fetchExport(service, token, {
            ...query,
            format: 'ndjson',
            cursor: nextCursor,
          });
          const lines = exported.text.split('\n').filter((line) => line !== '');
          const rest = lines.map((line) => nameOf(JSON.parse(line) as Stored));
          expect(rest).toEqual(whole.slice(offset + found));
          readFew(ROWS);
          answer = await page(token, { ...query, cursor: nextCursor });
        }
        expect(found).toBe(Math.max(0, whole.length - offset));
      },
    );
  });

  it.each(offsetLists)(
    'of several organizations have a cursor at each event within an offset: %j',
    async ({ offset, sort_field, sort_direction }) => {
      const organizations = [newOrganization(), newOrganization()].sort();
      const token = await tokenOf({ organizations });
      await recordPattern(organizations[0] ?? '', [true, false, true, false, false, true]);
      await recordPattern(organizations[1] ?? '', [false, false, true, true, true]);
      const query = { actions: 'rare', sort_field, sort_direction };
      const whole = namesIn(await page(token, query));
      expect(whole).toHaveLength(6);
      const text = `query ($offset: Int, $cursor: String) {
        optimizedAuditEvents(
          filter: { actions: ["rare"] }
          pagination: { limit: 2, offset: $offset, cursor: $cursor,
            sort: { field: ${sort_field.toUpperCase()}, direction: ${sort_direction.toUpperCase()} } }
        ) { edges { cursor node { id organizationId } } pageInfo { hasNextPage endCursor } }
      }`;
      for (const rows of [1, 2, 3]) {
        let variables: object = { offset };
        for (let found = offset; ;) {
          readFew(rows);
          const { json } = await service.post('/graphql', token, { query: text, variables });
          const { edges, pageInfo } = json.data.optimizedAuditEvents;
          Object.assign(service.provider(ReadScheduler).pace, USUAL);
          for (const { cursor, node } of edges as { cursor: string; node: Stored }[]) {
            expect(nameOf(node)).toBe(whole[found]);
            found += 1;
            expect(namesIn(await page(token, { ...query, cursor }))).toEqual(whole.slice(found));
          }
          if (!pageInfo.hasNextPage) break;
          variables = { cursor: pageInfo.endCursor };
        }
      }
    },
  );

  it('lead back to what a partial page has passed', async () => {
    const organizationId = newOrganization();
    const token = await tokenOf({ organizations: [organizationId] });
    await record(organizationId, 1, { action: 'rare' });
    await record(organizationId, 6);
    await record(organizationId, 1, { action: 'rare' });
    for (const sort_field of ['timestamp', 'sequence']) {
      for (const sort_direction of ['asc', 'desc']) {
        const query = { actions: 'rare', sort_field, sort_direction };
        const [first, last] = namesIn(await page(token, query));
        readFew(3);
        let answer = await page(token, query);
        expect(namesIn(answer)).toEqual([first]);
        answer = await page(token, { ...query, cursor: answer.json.pagination.nextCursor });
        expect(namesIn(answer)).toEqual([]);
        expect(answer.json.pagination).toMatchObject({ partial: true, hasPrevious: true });
        const { previousCursor, nextCursor } = answer.json.pagination;
        Object.assign(service.provider(ReadScheduler).pace, USUAL);
        expect(namesIn(await page(token, { ...query, cursor: previousCursor }))).toEqual([first]);
        answer = await page(token, { ...query, cursor: nextCursor });
        expect(namesIn(answer)).toEqual([last]);
        // And back from there, with a part of the way in each page.
        readFew(3);
        answer = await page(token, { ...query, cursor: answer.json.pagination.previousCursor });
        expect(namesIn(answer)).toEqual([]);
        expect(answer.json.pagination).toMatchObject({ partial: true, hasPrevious: true });
        const forward = { ...query, cursor: answer.json.pagination.nextCursor };
        Object.assign(service.provider(ReadScheduler).pace, USUAL);
        expect(namesIn(await page(token, forward))).toEqual([last]);
        const back = { ...query, cursor: answer.json.pagination.previousCursor };
        expect(namesIn(await page(token, back))).toEqual([first]);
      }
    }
  });

  it('give a poller by sequence each event once, whatever is recorded beside', async () => {
    const step = fc.record({
      organization: fc.nat(1),
      rare: fc.nat(2),
      others: fc.nat(9),
      polls: fc.nat(4),
    });
    const scenario = fc.tuple(
      fc.array(step, { minLength: 3, maxLength: 8 }),
      fc.integer({ min: 1, max: 4 }),
    );
    await fc.assert(
      fc.asyncProperty(scenario, async ([steps, rows]) => {
        const organizations = [newOrganization(), newOrganization()].sort();
        const token = await tokenOf({ organizations });
        const query = {
          actions: 'rare',
          sort_field: 'sequence',
          sort_direction: 'asc',
          limit: '2',
        };
        const seen: string[] = [];
        let cursor: string | undefined;
        const poll = async (): Promise<boolean> => {
          readFew(rows);
          const answer = await page(token, {
            ...query,
            ...(cursor === undefined ? {} : { cursor }),
          });
          seen.push(...namesIn(answer));
          const { nextCursor, resumeCursor, hasNext } = answer.json.pagination;
          expect([nextCursor === undefined, resumeCursor === undefined]).toEqual([
            !hasNext,
            hasNext,
          ]);
          cursor = nextCursor ?? resumeCursor;
          return hasNext;
        };
        for (const { organization, rare, others, polls } of steps) {
          const id = organizations[organization] ?? '';
          if (others > 0) await record(id, others);
          if (rare > 0) await record(id, rare, { action: 'rare' });
          for (let count = 0; count < polls; count += 1) await poll();
        }
        for (let isMore = true; isMore;) isMore = await poll();
        Object.assign(service.provider(ReadScheduler).pace, USUAL);
        const whole = namesIn(await page(token, { ...query, limit: '1000' }));
        expect([...seen].sort()).toEqual([...whole].sort());
        for (const id of organizations) {
          const own = (names: string[]) => names.filter((name) => name.startsWith(id));
          expect(own(seen)).toEqual(own(whole));
        }
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});

describe('a partial page', () => {
  const organizationId = newOrganization();
  let token: string;
  const query = { actions: 'rare', limit: '2' };

  beforeAll(async () => {
    token = await tokenOf({
      organizations: [organizationId],
      scope: 'audit:read audit:write audit:export',
    });
    for (let count = 0; count < 3; count += 1) {
      await record(organizationId, 1, { action: 'rare' });
      await record(organizationId, 9);
    }
  });

  it('is the same through every protocol, and its total is a lower bound', async () => {
    readFew(10);
    const search = { filter: { actions: ['rare'] }, pagination: { limit: 2 } };
    for (const protocol of Object.values(protocolsOf(service))) {
      const found: string[] = [];
      let cursor: string | undefined;
      for (let pages = 0; pages < 3; pages += 1) {
        const pagination = { ...search.pagination, ...(cursor ? { cursor } : {}) };
        const outcome = await protocol.find({ ...search, pagination }, token);
        expect(outcome).toMatchObject({
          totalIsExact: false,
          partial: true,
          hasNext: true,
          hasPrevious: pages > 0,
        });
        expect([1, 2, 3]).toContain(outcome.total);
        found.push(...(outcome.events ?? []));
        ({ cursor } = outcome);
      }
      expect(found).toHaveLength(3);
    }
    Object.assign(service.provider(ReadScheduler).pace, USUAL);
    for (const protocol of Object.values(protocolsOf(service))) {
      expect(await protocol.find(search, token)).toMatchObject({
        total: 3,
        totalIsExact: true,
        partial: false,
      });
    }
  });

  it('says so nowhere where it is whole', async () => {
    const answer = await page(token, { ...query, limit: '3' });
    expect(answer.json.pagination).not.toHaveProperty('partial');
    readFew(1);
    // Without a filter a page is bounded by itself.
    expect((await page(token, { limit: '30' })).json.pagination).not.toHaveProperty('partial');
  });

  it('is not kept, and asked for anew has more', async () => {
    const path = `${EVENTS}?${new URLSearchParams({ ...query, limit: '7' }).toString()}`;
    readFew(10);
    for (let count = 0; count < 2; count += 1) {
      const answer = await service.get(path, token);
      expect(answer.json.pagination.partial).toBe(true);
      expect(answer.headers.get('x-cache')).toBe('MISS');
      expect(answer.headers.get('cache-control')).toBe('private, max-age=0, no-cache');
      expect(answer.headers.has('age')).toBe(false);
      const etag = answer.headers.get('etag') ?? '';
      expect((await service.get(path, token, { 'if-none-match': etag })).status).toBe(304);
    }
    const partial = await service.get(path, token);
    Object.assign(service.provider(ReadScheduler).pace, USUAL);
    const etag = partial.headers.get('etag') ?? '';
    const whole = await service.get(path, token, { 'if-none-match': etag });
    expect(whole.status).toBe(200);
    expect(eventsIn(whole)).toHaveLength(3);
    expect((await service.get(path, token)).headers.get('x-cache')).toBe('HIT');
  });

  it('has cursors that are refused as others when changed, or for another reader or filter', async () => {
    readFew(3);
    const cursor = String((await page(token, query)).json.pagination.nextCursor);
    const refused = async (who: string, changed: Query) => {
      const parameters = new URLSearchParams({ ...query, cursor, ...changed }).toString();
      expectProblem(await service.get(`${EVENTS}?${parameters}`, who), 400, 'INVALID_CURSOR');
    };
    const other = await tokenOf({ sub: 'mallory', organizations: [organizationId] });
    await refused(other, {});
    await refused(await tokenOf({ organizations: [organizationId, 'org-1'] }), {});
    await refused(token, { actions: 'other' });
    await refused(token, { sort_field: 'sequence' });
    for (const at of [0, 20, 40, cursor.length - 1]) {
      const letter = cursor[at] === 'A' ? 'B' : 'A';
      await refused(token, { cursor: `${cursor.slice(0, at)}${letter}${cursor.slice(at + 1)}` });
    }
    await refused(token, { cursor: cursor.slice(0, -1) });
  });

  it('is counted', async () => {
    const metric = async () => {
      const { text } = await service.get('/metrics');
      return Number(/^audit_read_partial_pages_total (\d+)$/m.exec(text)?.[1]);
    };
    const before = await metric();
    readFew(3);
    await page(token, query);
    expect(await metric()).toBe(before + 1);
  });

  it('of an export does not exist: it has every event', async () => {
    readFew(1);
    const answer = await fetchExport(service, token, { actions: 'rare', format: 'ndjson' });
    expect(answer.text.trimEnd().split('\n')).toHaveLength(3);
    expect(answer.trailers).toMatchObject({ 'x-export-complete': 'true', 'x-export-rows': '3' });
  });

  it('does not end a stream of a list, nor lose any of it', async () => {
    readFew(4);
    const list = { limit: 2, sort: { field: 'sequence', direction: 'asc' } } as const;
    for (const pagination of [list, { ...list, offset: 1 }, { limit: 2 }]) {
      const sequences: string[] = [];
      const streamed = await trpcClient(service.url, token).performance.streamAuditEvents.query({
        filter: { actions: ['rare'] },
        pagination,
      });
      for await (const { sequence } of streamed) sequences.push(sequence);
      const whole = pagination === list ? ['1', '11', '21'] : undefined;
      expect(sequences).toEqual(
        whole ?? ('offset' in pagination ? ['11', '21'] : ['21', '11', '1']),
      );
    }
  });

  it('does not end what a feed catches up with, nor lose any of it', async () => {
    readFew(4);
    const turns = jest.spyOn(ReadScheduler.prototype, 'read');
    const feed = await TailClient.open(`${service.url}${EVENTS}/tail?actions=rare`, {
      authorization: `Bearer ${token}`,
      'last-event-id': '0',
    });
    try {
      await until(() => feed.events.length === 3);
      expect(feed.events.map(({ sequence }) => sequence)).toEqual(['1', '11', '21']);
      await record(organizationId, 1, { action: 'rare' });
      await until(() => feed.events.length === 4);
      // A permit for each few rows, and none again and again for the same.
      expect(turns.mock.calls.length).toBeGreaterThanOrEqual(7);
      expect(turns.mock.calls.length).toBeLessThanOrEqual(10);
    } finally {
      await feed.close();
    }
  });
});

describe('a long read', () => {
  const organizationId = newOrganization();
  let token: string;
  let blocker: Blocker;

  beforeAll(async () => {
    token = await tokenOf({ organizations: [organizationId] });
    await record(organizationId, 50);
    blocker = await Blocker.connect(service.databaseUrl);
  });

  afterAll(() => blocker.close());

  /** Has the reads of events wait from the second portion on. */
  function blockSecondPortion(): void {
    const next = ReadPace.prototype.next; // eslint-disable-line @typescript-eslint/unbound-method -- called with its object below
    jest.spyOn(ReadPace.prototype, 'next').mockImplementationOnce(async function (
      this: ReadPace,
      work,
    ) {
      await blocker.blockReads();
      return next.call(this, work);
    });
  }

  const longReads = () => service.provider(ReadScheduler).longReads.statistics().active;
  const isBlocked = async () =>
    longReads() === 1 &&
    (await blocker.busy()).some(({ query }) => query.startsWith('SELECT CASE'));

  afterEach(() => blocker.unblock());

  const path = `${EVENTS}?actions=none`;

  it('gives up its permits after the first portion, and others read meanwhile', async () => {
    Object.assign(service.provider(ReadScheduler).pace, {
      firstRows: 3,
      budgetMs: 60_000,
      shortMs: 0,
    });
    blockSecondPortion();
    const answer = service.get(path, token, { 'cache-control': 'no-cache' });
    await until(isBlocked);
    expect(service.provider(FairScheduler).statistics().active).toBe(0);
    await blocker.unblock();
    expect((await answer).json.data).toEqual([]);
    await until(() => longReads() === 0);
  });

  it('is cancelled in PostgreSQL when its client leaves', async () => {
    Object.assign(service.provider(ReadScheduler).pace, {
      firstRows: 3,
      budgetMs: 60_000,
      shortMs: 0,
    });
    blockSecondPortion();
    const controller = new AbortController();
    const gone = fetch(`${service.url}${path}&limit=9`, {
      headers: { authorization: `Bearer ${token}` },
      signal: controller.signal,
    }).catch(() => 'gone');
    await until(isBlocked);
    controller.abort();
    expect(await gone).toBe('gone');
    await until(async () => (await blocker.busy()).length === 0);
    await until(() => longReads() === 0);
  });

  it('whose portion does not end in time has what it found before, and nothing runs on', async () => {
    Object.assign(service.provider(ReadScheduler).pace, {
      firstRows: 3,
      budgetMs: 300,
      shortMs: 0,
    });
    blockSecondPortion();
    const { status, json } = await service.get(`${path}&limit=8`, token);
    expect(status).toBe(200);
    expect(json).toMatchObject({ data: [], pagination: { partial: true, hasNext: true } });
    await until(async () => (await blocker.busy()).length === 0);
    await blocker.unblock();
    const { nextCursor } = json.pagination;
    const rest = await service.get(`${path}&limit=8&cursor=${nextCursor}`, token);
    expect(rest.json.pagination).toMatchObject({ hasNext: false });
  });

  it.each(['timestamp', 'sequence'])(
    'by %s whose time ends after the events that its offset skips still leads to them',
    async (sort_field) => {
      Object.assign(service.provider(ReadScheduler).pace, {
        firstRows: 3,
        budgetMs: 300,
        shortMs: 0,
      });
      const query = { actions: 'test.run', sort_field, sort_direction: 'asc' };
      blockSecondPortion();
      const answer = await page(token, { ...query, offset: '3' });
      await blocker.unblock();
      expect(answer.json).toMatchObject({ data: [], pagination: { partial: true } });
      Object.assign(service.provider(ReadScheduler).pace, USUAL);
      const whole = namesIn(await page(token, { ...query, limit: '50' }));
      const { previousCursor, nextCursor } = answer.json.pagination;
      const before = await page(token, { ...query, cursor: previousCursor });
      expect(namesIn(before)).toEqual(whole.slice(0, 3));
      const rest = await page(token, { ...query, cursor: nextCursor, limit: '50' });
      expect(namesIn(rest)).toEqual(whole.slice(3));
    },
  );
});
