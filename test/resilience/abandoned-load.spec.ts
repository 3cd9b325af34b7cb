import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const LOAD_MS = Number(process.env.ABANDONED_LOAD_MS ?? 5000);
const CLIENTS = 60;
const EXPECTED = new Set([200, 201, 503, 504]);

let service: TestService;
let blocker: Blocker;

beforeAll(async () => {
  service = await TestService.start({
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    CONCURRENCY_MAX_REQUESTS: '8',
    CONCURRENCY_QUEUE_SIZE: '30',
    CONCURRENCY_QUEUE_TIMEOUT_MS: '150',
    REQUEST_TIMEOUT_MS: '300',
  });
  blocker = await Blocker.connect(service.databaseUrl);
});

afterAll(async () => {
  await blocker.close();
  await service.stop();
});

/** One request of a client that often does not wait for the answer; the actions whose storage was acknowledged. */
async function send(token: string, organizationId: string): Promise<string[]> {
  const leaving = new AbortController();
  const timeoutMs = Math.random() < 0.4 ? Math.random() * 40 : 10_000;
  const timer = setTimeout(() => leaving.abort(), timeoutMs);
  const kind = Math.random();
  const actions =
    kind < 0.4
      ? []
      : Array.from({ length: kind < 0.7 ? 1 : kind < 0.9 ? 20 : 150 }, () => randomUUID());
  const events = actions.map((action) => eventWith({ action, organizationId }));
  const [event] = events;
  const path =
    events.length > 1
      ? `${EVENTS}/bulk`
      : kind < 0.2
        ? `${EVENTS}?limit=${1 + Math.floor(kind * 50)}`
        : EVENTS;
  try {
    const response = await fetch(`${service.url}${path}`, {
      method: event ? 'POST' : 'GET',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(kind > 0.3 ? { 'cache-control': 'no-cache' } : {}),
      },
      body: event ? JSON.stringify(events.length > 1 ? { events } : event) : undefined,
      signal: leaving.signal,
    });
    const text = await response.text();
    if (!EXPECTED.has(response.status))
      throw new Error(`${event ? 'POST' : 'GET'} ${path}: ${response.status} ${text}`);
    return response.status === 201 ? actions : [];
  } catch (error) {
    if (leaving.signal.aborted) return [];
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

it('a load beyond all limits, half of it abandoned, leaves nothing behind and loses nothing', async () => {
  const endMs = Date.now() + LOAD_MS;
  const acknowledged: string[] = [];
  const client = async (_: unknown, index: number): Promise<void> => {
    const organizationId = `org-${index % 5}`;
    const token = await tokenOf({ sub: `client-${index}`, organizations: [organizationId] });
    while (Date.now() < endMs) acknowledged.push(...(await send(token, organizationId)));
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  while (Date.now() < endMs - 1000) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await blocker.blockReads(); // everything that runs meets its deadline or its client's end
    await new Promise((resolve) => setTimeout(resolve, 400));
    await blocker.unblock();
  }
  await clients;

  await until(async () => (await blocker.busy()).length === 0);
  const concurrency = async () => (await service.get('/health')).json.details.concurrency;
  // Rows that PostgreSQL has sent are made into responses after it is idle.
  await until(async () => (await concurrency()).active === 0);
  expect(await concurrency()).toMatchObject({ status: 'up', active: 0, queued: 0 });
  const token = await tokenOf({ organizations: ['org-0'] });
  expect((await service.post(EVENTS, token, eventWith({ organizationId: 'org-0' }))).status).toBe(
    201,
  );

  const observer = new Client({ connectionString: service.databaseUrl });
  await observer.connect();
  const { rows: lost } = await observer.query(
    `SELECT action FROM unnest($1::text[]) AS sent (action)
     WHERE (SELECT count(*) FROM audit_event e WHERE e.action = sent.action) <> 1`,
    [acknowledged],
  );
  const { rows: gaps } = await observer.query(
    `SELECT organization_id FROM audit_event GROUP BY organization_id
     HAVING max(sequence) <> count(*) OR count(DISTINCT sequence) <> count(*)`,
  );
  await observer.end();
  expect(acknowledged.length).toBeGreaterThan(0);
  expect({ lost, gaps }).toEqual({ lost: [], gaps: [] });
}, 90_000);
