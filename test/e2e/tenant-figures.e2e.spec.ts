import { randomUUID } from 'node:crypto';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
});

afterAll(() => service.stop());

const PAGE = `{ optimizedAuditEvents { totalCount edges { cursor node { id sequence } }
  pageInfo { hasNextPage startCursor endCursor } cacheInfo { cached cacheKey ttl hitRatio } } }`;
const BULK = `mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) {
  created batches performance { totalTime averageTimePerEvent concurrencyUtilization } } }`;
const TRPC_PAGE = '/trpc/performance.getOptimizedAuditEvents?input={}';

/** What may differ: the tenant's own times, and what is random or drawn from the clock. */
const OWN_TIMES = new Set(['totalTime', 'averageTimePerEvent', 'timestamp', 'recordedAt']);
const OWN_NAMES = new Set([
  ...['id', 'cursor', 'startCursor', 'endCursor', 'nextCursor', 'previousCursor', 'cacheKey'],
  ...['requestId', 'instance'],
]);
const OWN_HEADERS = new Set([
  ...[
    'date',
    'age',
    'x-request-id',
    'x-response-time',
    'server-timing',
    'etag',
    'location',
    'link',
  ],
  ...['content-length', 'content-disposition', 'x-export-snapshot'],
]);

function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const isOwn = (OWN_TIMES.has(name) || OWN_NAMES.has(name)) && inner !== null;
      return [name, isOwn ? typeof inner : masked(inner)];
    }),
  );
}

function told({ status, headers, json, text }: Answer, organizationId: string): unknown {
  const shown = [...headers].map(([name, value]) => [name, OWN_HEADERS.has(name) ? '' : value]);
  const body = json === undefined ? text.split('\n').length : masked(json);
  return JSON.parse(JSON.stringify({ status, shown, body }).replaceAll(organizationId, 'mine'));
}

/** Everything that a tenant asks, and what it is told, its own doing aside. */
async function askAll(): Promise<unknown[]> {
  const organizationId = `org-${randomUUID()}`;
  const scope = 'audit:read audit:write audit:export';
  const token = await tokenOf({ sub: randomUUID(), scope, organizations: [organizationId] });
  const one = eventWith({ organizationId });
  const bulk = { events: [one, one, one], batchSize: 2 };
  const upper = { ...one, status: 'SUCCESS' };
  const all: unknown[] = [];
  const note = async (answer: Promise<Answer>) => {
    const got = await answer;
    all.push(told(got, organizationId));
    return got;
  };
  const { json } = await note(service.post(EVENTS, token, one));
  await note(service.post(EVENTS, token, one, { 'idempotency-key': 'k' }));
  await note(service.post(EVENTS, token, one, { 'idempotency-key': 'k' }));
  await note(service.post(`${EVENTS}/bulk`, token, bulk));
  const lines = `${JSON.stringify(one)}\n{}\n`;
  const type = { 'content-type': 'application/x-ndjson' };
  await note(service.post(`${EVENTS}/bulk`, token, lines, type));
  await note(service.post('/graphql', token, { query: BULK, variables: { events: [upper] } }));
  await note(service.post('/trpc/performance.bulkCreateAuditEvents', token, bulk));
  for (const path of [EVENTS, `${EVENTS}?include_total=true&limit=2`, `${EVENTS}/${json.id}`]) {
    await note(service.get(path, token));
    await note(service.get(path, token));
    await note(service.get(path, token, { 'cache-control': 'no-cache' }));
  }
  for (const reread of [1, 2, 3]) {
    expect(reread).toBeGreaterThan(0);
    await note(service.post('/graphql', token, { query: PAGE }));
    await note(service.get(TRPC_PAGE, token));
  }
  await note(service.get(`${EVENTS}/stream?format=ndjson`, token));
  await note(service.get(`${EVENTS}/${randomUUID()}`, token));
  await note(service.get(`${EVENTS}?organization_ids=other`, token));
  await note(service.get(`${EVENTS}?limit=0`, token));
  await note(service.get('/api/v1/performance/metrics', token));
  return all;
}

/** Another tenant that reads from the cache and beside it, and writes, as fast as it is answered. */
async function workHard(isOver: () => boolean, began: () => void): Promise<void> {
  const organizationId = `busy-${randomUUID()}`;
  const token = await tokenOf({ sub: randomUUID(), organizations: [organizationId] });
  const one = eventWith({ organizationId });
  const events = Array.from({ length: 200 }, () => one);
  while (!isOver()) {
    const answers = await Promise.all([
      service.post(`${EVENTS}/bulk`, token, { events }),
      service.post(EVENTS, token, one),
      service.get(`${EVENTS}?limit=3`, token),
      service.get(`${EVENTS}?limit=4`, token, { 'cache-control': 'no-cache' }),
      service.post('/graphql', token, { query: PAGE }),
    ]);
    if (!isOver()) for (const { status } of answers) expect(status).toBeLessThan(300);
    began();
  }
}

it('shows a tenant the same whether others work or not', async () => {
  const alone = await askAll();
  let isOver = false;
  const busy = Array.from(
    { length: 4 },
    () =>
      new Promise<{ work: Promise<void> }>((resolve) => {
        const work: Promise<void> = workHard(
          () => isOver,
          () => resolve({ work }),
        );
      }),
  );
  const working = await Promise.all(busy);
  const beside = await askAll();
  isOver = true;
  await Promise.all(working.map(({ work }) => work));
  expect(beside).toEqual(alone);
  expect(JSON.stringify(alone)).toContain('"hitRatio":');
  expect(JSON.stringify(alone)).toContain('"concurrencyUtilization":');
}, 120_000);
