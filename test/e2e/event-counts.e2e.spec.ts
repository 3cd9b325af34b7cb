import { randomUUID } from 'node:crypto';
import { CachedCounts } from '../../src/audit/read/cached-counts';
import { EventCounts } from '../../src/audit/read/event-counts';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const COUNTS = `${EVENTS}/counts`;
const DAY_MS = 86_400_000;

interface Counts {
  by: string;
  counts: { value: string | null; count: number; startDate?: string; endDate?: string }[];
  total: number;
  distinct: number;
  countIsExact: boolean;
  countedFrom?: string;
}

/** Counts as tRPC spells them. */
interface Asked {
  by: string;
  filter?: Record<string, string[] | string | Record<string, string>>;
  timeZone?: string;
}

type Outcome = Counts | { kind: string; places: string[] };
type Ask = (asked: Asked, token: string) => Promise<Outcome>;

const DOCUMENT = `query ($by: AuditEventCountKey!, $filter: AuditEventFilter, $timeZone: String) {
  auditEventCounts(by: $by, filter: $filter, timeZone: $timeZone) {
    by counts { value count startDate endDate } total distinct countIsExact countedFrom
  }
}`;

function snakeCased(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function restPath({ by, filter = {}, timeZone }: Asked): string {
  const parameters = new URLSearchParams({ by });
  const { dateRange = {}, ...lists } = filter;
  for (const [name, value] of Object.entries({ ...lists, ...(dateRange as object) })) {
    parameters.set(snakeCased(name), [value as string | string[]].flat().join(','));
  }
  if (timeZone !== undefined) parameters.set('time_zone', timeZone);
  return `${COUNTS}?${parameters.toString()}`;
}

/** What GraphQL says with null is left out elsewhere. */
function withoutNulls({ counts, countedFrom, by, ...rest }: Counts): Counts {
  return {
    ...rest,
    by: by.toLowerCase(),
    counts: counts.map(({ value, count, startDate, endDate }) => ({
      value,
      count,
      ...(startDate == null ? {} : { startDate }),
      ...(endDate == null ? {} : { endDate }),
    })),
    ...(countedFrom == null ? {} : { countedFrom }),
  };
}

function failure(code: string, errors: { path: string }[] | undefined): Outcome {
  return { kind: code, places: (errors ?? []).map(({ path }) => path) };
}

function protocolsOf(service: TestService): Record<'REST' | 'GraphQL' | 'tRPC', Ask> {
  return {
    REST: async (asked, token) => {
      const { status, json } = await service.get(restPath(asked), token);
      return status === 200 ? (json as Counts) : failure(json.code, json.errors);
    },
    GraphQL: async ({ by, filter, timeZone }, token) => {
      const statuses = filter?.['statuses'];
      const upper = Array.isArray(statuses)
        ? { statuses: statuses.map((one) => one.toUpperCase()) }
        : {};
      const variables = { by: by.toUpperCase(), filter: { ...filter, ...upper }, timeZone };
      const { json } = await service.post('/graphql', token, { query: DOCUMENT, variables });
      const [error] = json.errors ?? [];
      if (error) return failure(error.extensions.code, error.extensions.errors);
      return withoutNulls(json.data.auditEventCounts as Counts);
    },
    tRPC: async (asked, token) => {
      const input = encodeURIComponent(JSON.stringify(asked));
      const { json } = await service.get(
        `/trpc/performance.getAuditEventCounts?input=${input}`,
        token,
      );
      if (json.error) return failure(json.error.data.kind, json.error.data.errors);
      return json.result.data as Counts;
    },
  };
}

describe('counts of events', () => {
  let service: TestService;
  let protocols: Record<'REST' | 'GraphQL' | 'tRPC', Ask>;
  let organization: string;
  let token: string;

  beforeAll(async () => {
    service = await TestService.start({ DATABASE_POOL_MAX: '4', DATABASE_POOL_MIN: '0' });
    protocols = protocolsOf(service);
  });
  afterAll(() => service.stop());

  beforeEach(async () => {
    organization = `org-${randomUUID()}`;
    token = await tokenOf({ organizations: [organization] });
  });

  async function record(events: Record<string, unknown>[], by = token): Promise<void> {
    const all = events.map((one) => eventWith({ organizationId: organization, ...one }));
    expect((await service.post(`${EVENTS}/bulk`, by, { events: all })).status).toBe(201);
  }

  /** The same of all protocols. */
  async function count(asked: Asked, by = token): Promise<Outcome> {
    const { REST, GraphQL, tRPC } = protocols;
    const found = await REST(asked, by);
    expect(await GraphQL(asked, by)).toEqual(found);
    expect(await tRPC(asked, by)).toEqual(found);
    return found;
  }

  async function pairs(asked: Asked, by = token): Promise<[string | null, number][]> {
    const found = (await count(asked, by)) as Counts;
    expect(found.countIsExact).toBe(true);
    return found.counts.map(({ value, count: events }) => [value, events]);
  }

  it('come with the most first, ties by bytes, and null last', async () => {
    await record([
      { principalId: 'b' },
      { principalId: 'B' },
      { principalId: 'often' },
      { principalId: 'often' },
      {},
    ]);
    expect(await count({ by: 'principal' })).toEqual({
      by: 'principal',
      counts: [
        { value: 'often', count: 2 },
        { value: 'B', count: 1 },
        { value: 'b', count: 1 },
        { value: null, count: 1 },
      ],
      total: 5,
      distinct: 4,
      countIsExact: true,
    });
  });

  it('are those of a hundred values at most, and say how many there are', async () => {
    const actions = Array.from(
      { length: 120 },
      (_, index) => `a.${String(index).padStart(3, '0')}`,
    );
    await record(actions.map((action) => ({ action })));
    const found = (await count({ by: 'action' })) as Counts;
    expect(found).toMatchObject({ total: 120, distinct: 120, countIsExact: true });
    expect(found.counts.map(({ value }) => value)).toEqual(actions.slice(0, 100));
  });

  it('have the filters of lists', async () => {
    const metadata = { order: { id: 42 } };
    await record([
      { action: 'invoice.read', status: 'failure', metadata },
      { action: 'invoice.read', sessionContext: { ipAddress: '10.1.2.3' } },
      { action: 'order.read', outcomeDescription: 'Refund denied' },
    ]);
    expect(await pairs({ by: 'action', filter: { actions: ['invoice.*'] } })).toEqual([
      ['invoice.read', 2],
    ]);
    expect(await pairs({ by: 'status', filter: { metadata: ['order.id=42'] } })).toEqual([
      ['failure', 1],
    ]);
    expect(await pairs({ by: 'action', filter: { q: '"refund"' } })).toEqual([['order.read', 1]]);
    expect(await pairs({ by: 'action', filter: { ipAddresses: ['10.1.0.0/16'] } })).toEqual([
      ['invoice.read', 1],
    ]);
    expect(await pairs({ by: 'action', filter: { statuses: ['failure'] } })).toEqual([
      ['invoice.read', 1],
    ]);
    expect(await pairs({ by: 'action', filter: { actions: ['none'] } })).toEqual([]);
  });

  it('by resource type have an event once for each type of its targets', async () => {
    await record([
      { targets: [{ type: 'Order', id: '1' }, { type: 'Invoice', id: '1' }, { type: 'Order', id: '2' }] },
      { targetResourceType: 'Order', targetResourceId: '1' },
      { targets: [{ id: '1' }, { type: 'Invoice', id: '2' }] },
      { targets: [{ id: '1' }, { id: '2' }] },
      {},
    ]); // prettier-ignore
    const found = (await count({ by: 'resource_type' })) as Counts;
    expect(found.total).toBe(5);
    expect(found.counts).toEqual([
      { value: 'Invoice', count: 2 },
      { value: 'Order', count: 2 },
      { value: null, count: 2 },
    ]);
  });

  it('by day and hour come in the order of time, with bounds for a filter', async () => {
    const times = ['2026-03-28T22:59:59.999999Z', '2026-03-28T23:00:00Z', '2026-03-29T21:59:59Z'];
    await record(times.map((timestamp) => ({ timestamp })));
    const dateRange = { startDate: '2026-03-01', endDate: '2026-04-01' };
    const day = await count({ by: 'day', filter: { dateRange }, timeZone: 'Europe/Berlin' });
    expect((day as Counts).counts).toEqual([
      { value: '2026-03-28', count: 1, startDate: '2026-03-27T23:00:00.000000Z', endDate: '2026-03-28T23:00:00.000000Z' },
      { value: '2026-03-29', count: 2, startDate: '2026-03-28T23:00:00.000000Z', endDate: '2026-03-29T22:00:00.000000Z' },
    ]); // prettier-ignore
    expect(await pairs({ by: 'day', filter: { dateRange } })).toEqual([
      ['2026-03-28', 2],
      ['2026-03-29', 1],
    ]);
    const hour = (await count({ by: 'hour', filter: { dateRange } })) as Counts;
    expect(hour.counts[0]).toEqual({
      value: '2026-03-28T22:00:00.000000Z',
      count: 1,
      startDate: '2026-03-28T22:00:00.000000Z',
      endDate: '2026-03-28T23:00:00.000000Z',
    });
    expect(hour.counts).toHaveLength(3);
    expect(await pairs({ by: 'day', filter: { q: 'after:2026-03-29' } })).toEqual([
      ['2026-03-29', 1],
    ]);
  });

  it('show new events at once, and are kept until then', async () => {
    await record([{ action: 'first' }]);
    const path = restPath({ by: 'action' });
    const miss = await service.get(path, token);
    expect(miss.headers.get('x-cache')).toBe('MISS');
    const hit = await service.get(path, token);
    expect([hit.headers.get('x-cache'), hit.text]).toEqual(['HIT', miss.text]);
    const etag = hit.headers.get('etag') ?? '';
    const same = await service.get(path, token, { 'if-none-match': etag });
    expect([same.status, same.text]).toEqual([304, '']);
    await record([{ action: 'second' }]);
    const changed = await service.get(path, token, { 'if-none-match': etag });
    expect(changed.status).toBe(200);
    expect(changed.json.total).toBe(2);
    expect(await pairs({ by: 'action' })).toEqual([
      ['first', 1],
      ['second', 1],
    ]);
  });

  it('are the same by the slower path, the second path and in one answer for waiting requests', async () => {
    await record([{ action: 'a' }]);
    const paths = [COUNTS, COUNTS.replace('/audit/', '/performance/audit/')];
    const [first, second] = await Promise.all(
      paths.map((path) => service.get(`${path}?by=action`, token)),
    );
    const slow = await service.get(`${COUNTS}?by=action`, token, {
      accept: 'text/html;q=0.1, application/json',
    });
    expect([first?.status, second?.text, slow.text]).toEqual([200, first?.text, first?.text]);
    expect(slow.headers.get('x-cache')).toBe('HIT');
  });

  it("never have another organization's events", async () => {
    const other = `org-${randomUUID()}`;
    const both = await tokenOf({ organizations: [organization, other] });
    await record([{ action: 'own' }]);
    await record([{ action: 'foreign', organizationId: other }], both);
    expect(await pairs({ by: 'action' })).toEqual([['own', 1]]);
    expect(await pairs({ by: 'action' }, both)).toEqual([
      ['foreign', 1],
      ['own', 1],
    ]);
    const one = { by: 'action', filter: { organizationIds: [other] } };
    expect(await pairs(one, both)).toEqual([['foreign', 1]]);
    expect(await count(one)).toMatchObject({ kind: 'FORBIDDEN' });
    const operator = await tokenOf({ organizations: '*' });
    const all = (await count({ by: 'action' }, operator)) as Counts;
    expect(all.total).toBeGreaterThanOrEqual(2);
  });

  it('need the scope of reads', async () => {
    const writer = await tokenOf({ organizations: [organization], scope: 'audit:write' });
    expect(await count({ by: 'action' }, writer)).toMatchObject({ kind: 'FORBIDDEN' });
  });

  describe('that are asked for wrongly', () => {
    const long = { startDate: '2025-01-01', endDate: '2026-01-01' };
    const longer = { startDate: '2022-01-01', endDate: '2026-01-01' };
    it.each<[string, Asked, string[], string[]]>([
      ['hours of a year', { by: 'hour', filter: { dateRange: long } }, ['start_date'], ['filter.dateRange.startDate']],
      ['days of four years', { by: 'day', filter: { dateRange: longer } }, ['start_date'], ['filter.dateRange.startDate']],
      ['days without a start', { by: 'day' }, ['start_date'], ['filter.dateRange.startDate']],
      ['a time zone for actions', { by: 'action', timeZone: 'UTC' }, ['time_zone'], ['timeZone']],
      ['no time zone', { by: 'day', filter: { dateRange: long }, timeZone: 'Nowhere' }, ['time_zone'], ['timeZone']],
      ['an offset', { by: 'day', filter: { dateRange: long }, timeZone: '+01:00' }, ['time_zone'], ['timeZone']],
      ['an unknown qualifier', { by: 'action', filter: { q: 'nothing:1' } }, ['q'], ['filter.q']],
      ['an empty range', { by: 'action', filter: { dateRange: { startDate: '2026-01-01', endDate: '2026-01-01' } } }, ['end_date'], ['filter.dateRange.endDate']],
    ])('%s', async (_name, asked, rest, others) => {
      const { REST, GraphQL, tRPC } = protocols;
      const kind = 'VALIDATION_FAILED';
      expect(await REST(asked, token)).toEqual({ kind, places: rest });
      expect(await GraphQL(asked, token)).toEqual({ kind, places: others });
      expect(await tRPC(asked, token)).toEqual({ kind, places: others });
    }); // prettier-ignore

    it.each([
      ['?by=colour', 'by must be one of action, principal, status, resource_type, day, hour'],
      ['', 'by is required'],
      ['?by=action&by=status', 'by must be given once'],
      ['?by=action&limit=5', 'limit is not a known parameter'],
      ['?by=hour&start_date=2025-01-01&end_date=2026-01-01', 'start_date begins a range of 8760 hours, of at most 1200'],
    ])('%s', async (query, detail) => {
      const { status, json } = await service.get(`${COUNTS}${query}`, token);
      expect({ status, code: json.code }).toEqual({ status: 400, code: 'VALIDATION_FAILED' });
      expect(json.detail).toContain(detail);
    }); // prettier-ignore

    it('in tRPC, without what to count by', async () => {
      const { json } = await service.get('/trpc/performance.getAuditEventCounts', token);
      expect(json.error.data.kind).toBe('VALIDATION_FAILED');
    });

    it('in GraphQL, too many of them', async () => {
      const fields = Array.from(
        { length: 9 },
        (_, index) =>
          `c${index}: auditEventCounts(by: DAY) { counts { value count startDate endDate } }`,
      );
      const { json } = await service.post('/graphql', token, { query: `{ ${fields.join(' ')} }` });
      expect(json.errors[0].message).toContain('points of cost');
    });
  });

  describe('without enough time', () => {
    it('are what was counted, and are not kept', async () => {
      const days = [1, 2, 45];
      const times = days.map((ago) => new Date(Date.now() - ago * DAY_MS).toISOString());
      await record(times.map((timestamp) => ({ timestamp })));
      const admin = await service.connect();
      const counts = service.provider(EventCounts);
      const { budgetMs } = counts;
      const ask = (): Promise<Answer> => service.get(`${COUNTS}?by=action`, token);
      try {
        const { rows } = await admin.query<{ name: string }>(
          `SELECT tableoid::regclass::text AS name FROM audit_event WHERE organization_id = $1 ORDER BY timestamp LIMIT 1`,
          [organization],
        );
        await admin.query(`BEGIN; LOCK TABLE ${rows[0]?.name} IN ACCESS EXCLUSIVE MODE`);
        counts.budgetMs = 1000;
        for (const answer of [await ask(), await ask()]) {
          expect(answer.status).toBe(200);
          expect(answer.json).toMatchObject({ total: 2, distinct: 1, countIsExact: false });
          expect(answer.json.counts).toEqual([{ value: 'test.run', count: 2 }]);
          expect(answer.json.countedFrom > (times[2] ?? '')).toBe(true);
          expect(answer.headers.get('x-cache')).toBe('MISS');
          expect(answer.headers.get('cache-control')).toContain('max-age=0');
        }
      } finally {
        counts.budgetMs = budgetMs;
        await admin.query('ROLLBACK');
        await admin.end();
      }
      expect((await ask()).json).toMatchObject({ total: 3, countIsExact: true });
      expect(await pairs({ by: 'action' })).toEqual([['test.run', 3]]);
    });

    it('leave connections for pages', async () => {
      await record([{ timestamp: new Date(Date.now() - 45 * DAY_MS).toISOString() }]);
      const other = `org-${randomUUID()}`;
      const neighbour = await tokenOf({ organizations: [other] });
      await record([{ organizationId: other }, { organizationId: other }], neighbour);
      const admin = await service.connect();
      const counts = service.provider(EventCounts);
      const { permits } = service.provider(CachedCounts);
      const { budgetMs } = counts;
      counts.budgetMs = 20_000;
      const { rows } = await admin.query<{ name: string }>(
        `SELECT tableoid::regclass::text AS name FROM audit_event WHERE organization_id = $1`,
        [organization],
      );
      await admin.query(`BEGIN; LOCK TABLE ${rows[0]?.name} IN ACCESS EXCLUSIVE MODE`);
      const path = (index: number) =>
        `${COUNTS}?by=action&statuses=success&actions=a${index},test.run`;
      const asked = Array.from({ length: 8 }, (_, index) => service.get(path(index), token));
      const all = Promise.all(asked);
      try {
        while (permits.statistics().queued < 7) await new Promise(setImmediate);
        expect(permits.statistics()).toMatchObject({ active: 1, queued: 7 });
        // The first of its events are in a partition that is not locked.
        const page = await service.get(`${EVENTS}?limit=1`, neighbour);
        expect([page.status, page.json.data.length]).toEqual([200, 1]);
        expect(permits.statistics()).toMatchObject({ active: 1, queued: 7 });
      } finally {
        await admin.query('ROLLBACK');
        await admin.end();
        const answers = await all;
        counts.budgetMs = budgetMs;
        expect(answers.map(({ json }) => json.total)).toEqual(Array(8).fill(1));
      }
    });
  });
});
