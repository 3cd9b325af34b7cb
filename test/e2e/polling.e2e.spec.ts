import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { fetchExport } from '../support/export-client';
import { loseEventsBehind } from '../support/lost-commits';
import { expectProblem } from '../support/problem';
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
  service = await TestService.start({ REDIS_URL: '' });
  admin = await service.connect();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

const newOrganization = () => `org-${randomUUID()}`;
const newOrganizations = (count: number) => Array.from({ length: count }, newOrganization).sort();
const reader = (...organizations: string[]) =>
  tokenOf({ organizations, scope: 'audit:read audit:write audit:export' });

async function record(organizationId: string, count: number, members: object = {}): Promise<void> {
  const events = Array.from({ length: count }, () => eventWith({ organizationId, ...members }));
  const answer = await service.post(`${EVENTS}/bulk`, await reader(organizationId), { events });
  expect(answer.status).toBe(201);
}

const IN_ORDER = { sort_field: 'sequence', sort_direction: 'asc' };
type Query = Record<string, string>;

async function page(token: string, query: Query, cursor?: string): Promise<Answer> {
  const all = new URLSearchParams({ ...query, ...(cursor === undefined ? {} : { cursor }) });
  const answer = await service.get(`${EVENTS}?${all.toString()}`, token);
  expect({ status: answer.status, text: answer.text.slice(0, 400) }).toMatchObject({ status: 200 });
  return answer;
}

const nameOf = (event: Record<string, unknown>) =>
  `${String(event['organizationId'])} ${String(event['sequence'])}`;

/** A client that reads a list to its end, and comes back with the cursor that the end gave. */
class Poller {
  readonly seen: string[] = [];
  cursor: string | undefined;

  constructor(
    private readonly token: string,
    private readonly query: Query,
  ) {}

  async poll(): Promise<string[]> {
    const from = this.seen.length;
    for (;;) {
      const answer = await page(this.token, this.query, this.cursor);
      const { nextCursor, resumeCursor, hasNext } = answer.json.pagination as Record<
        string,
        string
      >;
      expect([nextCursor === undefined, resumeCursor === undefined]).toEqual([!hasNext, hasNext]);
      this.seen.push(...eventsIn(answer).map(nameOf));
      this.cursor = nextCursor ?? resumeCursor;
      if (!hasNext) return this.seen.slice(from);
    }
  }
}

const names = (organization: string, ...sequences: number[]) =>
  sequences.map((sequence) => `${organization} ${sequence}`);

describe('a poller by sequence', () => {
  it('comes back with the cursor of the last page, and of an empty one', async () => {
    const organization = newOrganization();
    const poller = new Poller(await reader(organization), { ...IN_ORDER, limit: '2' });
    expect(await poller.poll()).toEqual([]);
    await record(organization, 3);
    expect(await poller.poll()).toEqual(names(organization, 1, 2, 3));
    expect(await poller.poll()).toEqual([]);
    await record(organization, 2);
    expect(await poller.poll()).toEqual(names(organization, 4, 5));
    expect(await poller.poll()).toEqual([]);
  });

  it('is not given nextCursor or a link to a next page at the end', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 2);
    const answer = await page(token, { ...IN_ORDER, limit: '2' });
    expect(answer.json.pagination).toMatchObject({ hasNext: false });
    expect(answer.json.pagination).not.toHaveProperty('nextCursor');
    expect(answer.headers.get('link')).not.toContain('next');
    const newestFirst = await page(token, { sort_field: 'sequence', sort_direction: 'desc' });
    expect(newestFirst.json.pagination).not.toHaveProperty('resumeCursor');
  });

  it('of several organizations gets the first events of one that begins later', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const poller = new Poller(await reader(x, y), { ...IN_ORDER, limit: '3' });
    await record(x, 5);
    expect(await poller.poll()).toEqual(names(x, 1, 2, 3, 4, 5));
    await record(y, 2);
    await record(x, 1);
    expect(await poller.poll()).toEqual([...names(y, 1, 2), ...names(x, 6)]);
  });

  it('gets them too when the organization begins between two pages', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await reader(x, y);
    await record(x, 4);
    const first = await page(token, { ...IN_ORDER, limit: '3' });
    await record(y, 2);
    const { nextCursor } = first.json.pagination;
    const second = await page(token, { ...IN_ORDER, limit: '9' }, nextCursor);
    expect(eventsIn(second).map(nameOf).sort()).toEqual([...names(x, 4), ...names(y, 1, 2)].sort());
    const back = await page(
      token,
      { ...IN_ORDER, limit: '9' },
      second.json.pagination.previousCursor,
    );
    expect(eventsIn(back).map(nameOf)).toEqual(names(x, 1, 2, 3));
    expect(back.json.pagination).toMatchObject({ hasNext: true, hasPrevious: false });
  });

  it('gets each event that its filter lets through once, whatever its timestamp', async () => {
    const organization = newOrganization();
    const query = { ...IN_ORDER, actions: 'wanted', limit: '2' };
    const poller = new Poller(await reader(organization), query);
    await record(organization, 3, { action: 'other' });
    expect(await poller.poll()).toEqual([]);
    await record(organization, 1, { action: 'wanted' });
    await record(organization, 1, { action: 'other' });
    expect(await poller.poll()).toEqual(names(organization, 4));
    await record(organization, 1, { action: 'wanted', timestamp: '2019-01-01T00:00:00Z' });
    await record(organization, 4, { action: 'other' });
    expect(await poller.poll()).toEqual(names(organization, 6));
    expect(await poller.poll()).toEqual([]);
  });

  it('goes on after a page by offset, and after one beyond the end', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await reader(x, y);
    await record(x, 4);
    await record(y, 3);
    const query = { ...IN_ORDER, limit: '2' };
    const third = await page(token, { ...query, offset: '3' });
    expect(eventsIn(third).map(nameOf)).toEqual([...names(y, 2), ...names(x, 3)]);
    const rest = await page(token, { ...query, limit: '9' }, third.json.pagination.nextCursor);
    expect(eventsIn(rest).map(nameOf)).toEqual([...names(y, 3), ...names(x, 4)]);
    const back = await page(token, { ...query, limit: '9' }, third.json.pagination.previousCursor);
    expect(eventsIn(back).map(nameOf)).toEqual([...names(x, 1), ...names(y, 1), ...names(x, 2)]);
    const beyond = await page(token, { ...query, offset: '50' });
    await record(y, 1);
    const later = await page(token, query, beyond.json.pagination.resumeCursor);
    expect(eventsIn(later).map(nameOf)).toEqual(names(y, 4));
  });

  it('sees each event of many writers exactly once, whatever the pages', async () => {
    const organizations = newOrganizations(5);
    const token = await reader(...organizations);
    let isWriting = true;
    const polling = ['1', '3', '50'].map(async (limit) => {
      const query = { ...IN_ORDER, limit, actions: 'wanted' };
      const poller = new Poller(token, query);
      while (isWriting) await poller.poll();
      await poller.poll();
      return poller.seen;
    });
    const wanted: string[] = [];
    await Promise.all(
      organizations.map(async (organization, at) => {
        for (let round = 0, sequence = 0; round < 12; round += 1) {
          const count = 1 + ((round + at) % 3);
          const isWanted = (round + at) % 4 !== 0;
          const timestamp = new Date(Date.UTC(2026, 9, 1 + ((round * 7) % 30))).toISOString();
          await record(organization, count, { action: isWanted ? 'wanted' : 'other', timestamp });
          for (let one = 0; one < count; one += 1) {
            sequence += 1;
            if (isWanted) wanted.push(...names(organization, sequence));
          }
        }
      }),
    ).finally(() => (isWriting = false));
    for (const seen of await Promise.all(polling)) {
      expect([...seen].sort()).toEqual([...wanted].sort());
      for (const organization of organizations) {
        const own = seen.filter((name) => name.startsWith(organization));
        const inOrder = wanted.filter((name) => name.startsWith(organization));
        expect(own).toEqual(inOrder);
      }
    }
  });

  it('of a hundred organizations has a cursor, and of more it has none', async () => {
    const organizations = newOrganizations(101);
    const token = await tokenOf({ organizations });
    await record(organizations[7] ?? '', 2);
    const poller = new Poller(token, {
      ...IN_ORDER,
      organization_ids: organizations.slice(0, 100).join(','),
    });
    expect(await poller.poll()).toHaveLength(2);
    await record(organizations[50] ?? '', 1);
    expect(await poller.poll()).toEqual(names(organizations[50] ?? '', 1));
    expect(poller.cursor?.length).toBeLessThan(4096);
    const all = await page(token, { ...IN_ORDER, limit: '2' });
    expect(all.json.pagination.nextCursor).toEqual(expect.any(String));
    const rest = await page(token, { ...IN_ORDER, limit: '2' }, all.json.pagination.nextCursor);
    expect(rest.json.pagination).not.toHaveProperty('resumeCursor');
  });

  it('is refused after a loss of any of its organizations, and told where the log ends', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await reader(x, y);
    const poller = new Poller(token, { ...IN_ORDER });
    await record(x, 5);
    await record(y, 4);
    await poller.poll();
    const query = new URLSearchParams({ ...IN_ORDER, cursor: poller.cursor ?? '' }).toString();
    await loseEventsBehind(admin, x, 3);
    const ahead = await service.get(`${EVENTS}?${query}`, token);
    expectProblem(ahead, 409, 'TIMELINE_CHANGED');
    expect(ahead.json.detail).toContain(`"${x}"`);
    expect(ahead.json.detail).toContain('Its last event is 3.');
    expect(ahead.json.detail).not.toContain(y);
    await record(x, 6, { action: 'given again' });
    const other = await service.get(`${EVENTS}?${query}`, token);
    expectProblem(other, 409, 'TIMELINE_CHANGED');
    expect(other.json.detail).toContain('Its last event is 9.');
  });
});

describe('a poller by timestamp', () => {
  const BY_TIME = { sort_field: 'timestamp', sort_direction: 'asc', limit: '2' };

  it('gets what has a later timestamp, once, from the first, empty page on', async () => {
    const organization = newOrganization();
    const poller = new Poller(await reader(organization), BY_TIME);
    expect(await poller.poll()).toEqual([]);
    expect(await poller.poll()).toEqual([]);
    for (const day of ['03', '01', '02']) {
      await record(organization, 1, { timestamp: `2026-11-${day}T00:00:00Z` });
    }
    expect(await poller.poll()).toEqual(names(organization, 2, 3, 1));
    // The promise of this order: an event with an earlier timestamp is behind the position.
    await record(organization, 1, { timestamp: '2026-11-02T12:00:00Z' });
    await record(organization, 1, { timestamp: '2026-11-04T00:00:00Z' });
    expect(await poller.poll()).toEqual(names(organization, 5));
  });
});

const nodesOf = ({ edges }: { edges: { node: Record<string, unknown> }[] }) =>
  edges.map(({ node }) => node);

describe('resumeCursor', () => {
  it('is the same promise in GraphQL and tRPC, and serves an export and a stream', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await reader(x, y);
    await record(x, 3);
    const query = `query ($cursor: String) {
      optimizedAuditEvents(pagination: { limit: 9, cursor: $cursor, sort: { field: SEQUENCE, direction: ASC } }) {
        edges { cursor node { organizationId sequence } } pageInfo { endCursor resumeCursor hasNextPage }
      }
    }`;
    const ask = async (cursor?: string) =>
      (await service.post('/graphql', token, { query, variables: { cursor } })).json.data
        .optimizedAuditEvents;
    const trpc = trpcClient(service.url, token).performance;
    const sort = { field: 'sequence', direction: 'asc' } as const;
    const call = (cursor?: string) =>
      trpc.getOptimizedAuditEvents.query({ pagination: { limit: 9, cursor, sort } });
    const [graphql, called] = [await ask(), await call()];
    expect(graphql.pageInfo).toMatchObject({ endCursor: null, hasNextPage: false });
    expect(called.pagination.nextCursor).toBeUndefined();
    const cursors: string[] = [graphql.pageInfo.resumeCursor, called.pagination.resumeCursor ?? ''];
    await record(y, 2);
    await record(x, 1);
    const added = [...names(y, 1, 2), ...names(x, 4)];
    for (const cursor of cursors) {
      const again = await ask(cursor);
      expect(nodesOf(again).map(nameOf)).toEqual(added);
      expect((await call(cursor)).data.map((one) => nameOf({ ...one }))).toEqual(added);
      // After any event of the page, the rest, and none of the organization that it has not reached.
      const rest = await ask(again.edges[0].cursor);
      expect(nodesOf(rest).map(nameOf)).toEqual(added.slice(1));
      const exported = await fetchExport(service, token, { ...IN_ORDER, format: 'ndjson', cursor });
      const lines = exported.text.trim().split('\n');
      expect(lines.map((line) => nameOf(JSON.parse(line) as object as never))).toEqual(added);
      const streamed: string[] = [];
      const stream = await trpc.streamAuditEvents.query({ pagination: { sort, cursor, limit: 2 } });
      for await (const event of stream) streamed.push(nameOf({ ...event }));
      expect(streamed).toEqual(added);
    }
  });

  it('serves an export of more organizations than are merged, as CSV too', async () => {
    const organizations = newOrganizations(20);
    const token = await reader(...organizations);
    for (const organization of organizations.slice(0, 10)) await record(organization, 2);
    const first = await page(token, { ...IN_ORDER });
    const cursor = String(first.json.pagination.resumeCursor);
    for (const organization of organizations.slice(5, 15)) await record(organization, 1);
    const { text } = await fetchExport(service, token, {
      ...IN_ORDER,
      format: 'csv',
      columns: 'organizationId,sequence',
      cursor,
    });
    const rows = text.trim().split('\r\n').slice(1);
    const expected = organizations.slice(5, 15).map((id, at) => `${id},${at < 5 ? 3 : 1}`);
    expect([...rows].sort()).toEqual([...expected].sort());
  });

  it('holds for its own query and reader only', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    const { resumeCursor } = (await page(token, IN_ORDER)).json.pagination as Record<
      string,
      string
    >;
    const asked = async (query: Query, who = token) => {
      const all = new URLSearchParams({ ...query, cursor: resumeCursor ?? '' }).toString();
      return service.get(`${EVENTS}?${all}`, who);
    };
    expectProblem(await asked({ ...IN_ORDER, actions: 'a' }), 400, 'INVALID_CURSOR');
    expectProblem(await asked({}), 400, 'INVALID_CURSOR');
    const other = await tokenOf({ sub: 'mallory', organizations: [organization] });
    expectProblem(await asked(IN_ORDER, other), 400, 'INVALID_CURSOR');
    expect((await asked(IN_ORDER)).status).toBe(200);
  });
});
