import { randomUUID } from 'node:crypto';
import { MAX_BUFFERED_CHARACTERS } from '../../src/audit/feed/feed-buffer';
import { MAX_EXACT_NUMBERS } from '../../src/platform/runtime/lossless-json';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { TailClient } from '../support/tail-client';
import { failureOfCall, trpcClient } from '../support/trpc-client';

/** What pg keeps of the rows of a statement. */
const { prototype: results } = jest.requireActual<{
  prototype: { addRow: (row: unknown[]) => void };
}>('pg/lib/result');

/** In a list: a timestamp may hold the same. */
const NUMBERS = /[[,]1\.0(?=[,\]])/g;
/** Bytes of a page, where the heap is not small. */
const MAX_PAGE_CHARACTERS = 32 * 1024 * 1024;
const organization = `org-${randomUUID()}`;
const SIZE = 250_000;
const COUNT = 160;
let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
  token = await tokenOf({ organizations: [organization] });
  const metadata = { text: 'x'.repeat(SIZE) };
  const events = Array.from({ length: 32 }, () =>
    eventWith({ organizationId: organization, metadata }),
  );
  for (let written = 0; written < COUNT; written += events.length) {
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  }
}, 60_000);
afterAll(() => service.stop());
afterEach(() => jest.restoreAllMocks());

/** Counts the characters that pg keeps of each answer; the function gives the largest count so far. */
function watchHeld(): () => number {
  const held = new Map<unknown, number>();
  const { addRow } = results;
  jest.spyOn(results, 'addRow').mockImplementation(function (this: unknown, row: unknown[]) {
    const values = Object.values(row); // an array, or an object by name
    const size = values.reduce<number>((sum, one) => sum + String(one).length, 0);
    held.set(this, (held.get(this) ?? 0) + size);
    addRow.call(this, row);
  });
  return () => Math.max(...held.values());
}

/** A field under many names. */
const aliased = (count: number, field: string) =>
  Array.from({ length: count }, (_, index) => `a${index}: ${field}`).join(' ');
const query = async (text: string) => (await service.post('/graphql', token, { query: text })).json;

describe('a page whose events are large', () => {
  it('is refused by name, and no more of it is held than a page may have', async () => {
    const held = watchHeld();
    const answer = await service.get(`${EVENTS}?limit=1000`, token);
    expectProblem(answer, 413, 'REQUEST_TOO_LARGE');
    expect(answer.json.detail).toMatch(/32 MiB.*limit.*stream/);
    expect(answer.json.errors).toEqual([
      { path: 'limit', message: expect.stringContaining('must be lower') },
    ]);
    expect(held()).toBeGreaterThan(MAX_PAGE_CHARACTERS - 2 * SIZE);
    expect(held()).toBeLessThanOrEqual(MAX_PAGE_CHARACTERS);
    expect(COUNT * SIZE).toBeGreaterThan(MAX_PAGE_CHARACTERS + 4 * SIZE);
  });

  it('is refused alike by the other protocols', async () => {
    const query = '{ optimizedAuditEvents(pagination: { limit: 1000 }) { edges { node { id } } } }';
    const { json } = await service.post('/graphql', token, { query });
    expect(json.errors[0].extensions.code).toBe('REQUEST_TOO_LARGE');
    const call = trpcClient(service.url, token).performance.getOptimizedAuditEvents.query({
      pagination: { limit: 1000 },
    });
    expect((await failureOfCall(call)).data?.kind).toBe('REQUEST_TOO_LARGE');
  });

  it.each([
    ['fields', `edges { node { ${aliased(7, 'metadata')} } }`, ''],
    ['what is around them', `edges { ${aliased(7, 'node { metadata }')} }`, ''],
    [
      'both',
      `a: edges { ...E } b: edges { node { metadata } }`,
      `node { ${aliased(6, 'metadata')} }`,
    ],
    [
      'fields in fragments',
      '... on OptimizedAuditEventConnection { a: edges { ...E } b: edges { ...E } }',
      `node { ${aliased(4, 'metadata')} }`,
    ],
  ])('is refused for what the answer repeats, by aliases of %s', async (_, selection, edge) => {
    const fragment = edge && `fragment E on AuditEventEdge { ${edge} }`;
    const ask = (limit: number) =>
      query(
        `{ optimizedAuditEvents(pagination: { limit: ${limit} }) { ${selection} } } ${fragment}`,
      );
    expect((await ask(20)).errors[0].extensions.code).toBe('REQUEST_TOO_LARGE');
    expect((await ask(2)).errors).toBeUndefined();
  });

  it('is given whole when it is selected again and again by one name', async () => {
    const edges = 'edges { node { metadata } } '.repeat(10);
    const { data } = await query(
      `{ optimizedAuditEvents(pagination: { limit: 20 }) { ${edges} } }`,
    );
    expect(data.optimizedAuditEvents.edges).toHaveLength(20);
  });

  it('leaves no memory in its response for many copies of an event', async () => {
    const [{ id } = { id: '' }] = eventsIn(await service.get(`${EVENTS}?limit=1`, token));
    const page = `optimizedAuditEvents(pagination: { limit: 20 }) { edges { node { ${aliased(6, 'metadata')} } } }`;
    const ask = (copies: number) =>
      query(`{ ${page} auditEvent(id: "${id}") { ${aliased(copies, 'metadata')} } }`);
    expect((await ask(1)).errors).toBeUndefined();
    expect((await ask(30)).errors[0]).toMatchObject({
      path: ['auditEvent'],
      extensions: { code: 'REQUEST_TOO_LARGE' },
    });
  });

  it('is given with a lower limit, and exports give them all', async () => {
    const page = await service.get(`${EVENTS}?limit=20`, token);
    expect(eventsIn(page)).toHaveLength(20);
    const own = await tokenOf({ organizations: [organization], scope: 'audit:export' });
    const { text } = await service.get(`${EVENTS}/stream?format=ndjson`, own);
    expect(text.trimEnd().split('\n')).toHaveLength(COUNT);
    const stream = trpcClient(service.url, own).performance.streamAuditEvents.query();
    const ids = new Set<string>();
    for await (const { id } of await stream) ids.add(id);
    expect(ids.size).toBe(COUNT);
  });

  it('is read in smaller ones for a follower from the beginning', async () => {
    const held = watchHeld();
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail?after_sequence=0`, {
      authorization: `Bearer ${token}`,
    });
    await until(() => tail.messages.length === COUNT);
    expect(held()).toBeLessThanOrEqual(MAX_PAGE_CHARACTERS);
    await tail.close();
  }, 30_000);

  it('comes to followers in parts, so that large events of one commit disconnect no follower that keeps up', async () => {
    const own = `org-${randomUUID()}`;
    const events = Array.from({ length: 39 }, () => ({
      ...eventWith({ organizationId: own }),
      metadata: { text: 'x'.repeat(SIZE) },
    }));
    expect(events.length * SIZE).toBeGreaterThan(MAX_BUFFERED_CHARACTERS);
    const both = await tokenOf({ organizations: [own] });
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${both}`,
    });
    const held = watchHeld();
    expect((await service.post(`${EVENTS}/bulk`, both, { events })).status).toBe(201);
    await until(() => tail.messages.length === events.length || tail.isOver);
    expect(tail.events.map(({ sequence }) => Number(sequence))).toEqual(
      events.map((_, index) => index + 1),
    );
    expect(held()).toBeLessThan(MAX_BUFFERED_CHARACTERS);
    await tail.close();
  }, 30_000);
});

describe('a page with many numbers that a double cannot hold', () => {
  const ask = (limit: number, fields: string) =>
    query(`query Q { a: optimizedAuditEvents(${assignSequences(limit)}) { edges { node { ${fields} } } }
      b: optimizedAuditEvents(${assignSequences(1)}) { edges { node { id } } } }`);
  const assignSequences = (limit: number) =>
    `filter: { actions: ["numbers"] }, pagination: { limit: ${limit} }`;

  beforeAll(async () => {
    const event = eventWith({ organizationId: organization, action: 'numbers' });
    const metadata = `{"n":[${'1.0,'.repeat(60_000)}1.0]}`;
    const text = `${JSON.stringify(event).slice(0, -1)},"metadata":${metadata}}`;
    const body = `{"events":[${Array(9).fill(text).join(',')}]}`;
    expect(60_000 * 9).toBeGreaterThan(MAX_EXACT_NUMBERS);
    for (const part of [
      body.replace(`${text},`.repeat(5), ''),
      body.replace(`${text},`.repeat(4), ''),
    ]) {
      expect((await service.post(`${EVENTS}/bulk`, token, part)).status).toBe(201);
    }
  });

  it('is given by REST and tRPC, and refused by name where each has to be looked at', async () => {
    const page = await service.get(`${EVENTS}?actions=numbers`, token);
    expect(page.text.match(NUMBERS)).toHaveLength(9 * 60_001);
    const input = encodeURIComponent(JSON.stringify({ filter: { actions: ['numbers'] } }));
    const call = `/trpc/performance.getOptimizedAuditEvents?input=${input}`;
    expect((await service.get(call, token)).text.match(NUMBERS)).toHaveLength(9 * 60_001);
    expect((await ask(9, 'id')).errors[0]).toMatchObject({
      path: ['a'],
      extensions: { code: 'REQUEST_TOO_LARGE' },
    });
  });

  it('is given where the whole response has fewer, copies counted', async () => {
    expect((await ask(7, 'metadata')).errors).toBeUndefined();
    expect((await ask(4, aliased(2, 'metadata'))).errors).toMatchObject([
      { path: ['b'], extensions: { code: 'REQUEST_TOO_LARGE' } },
    ]);
    expect((await ask(4, aliased(3, 'metadata'))).errors[0].path).toEqual(['a']);
  });
});
