import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const DEADLINE_MS = 1000;
const NO_CACHE = { 'cache-control': 'no-cache' };

let service: TestService;
let blocker: Blocker;
let token: string;

beforeAll(async () => {
  service = await TestService.start({
    REQUEST_TIMEOUT_MS: String(DEADLINE_MS),
    // These would wait for the locks of the blocker, and others behind them.
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    MONITORING_ENABLED: 'false',
  });
  blocker = await Blocker.connect(service.databaseUrl);
  token = await tokenOf();
  await service.post(EVENTS, token, eventWith());
});

afterAll(async () => {
  await blocker.close();
  await service.stop();
});

const many = (count: number) => ({ events: Array.from({ length: count }, () => eventWith()) });

/** /health itself may wait for the locks of the blocker. */
function schedulerOf() {
  return service.provider(FairScheduler).statistics();
}

/**
 * Answers 504 not before the time is up, and while what it waits for is still in its way; after that nothing runs in
 * PostgreSQL, and no permit is held. How punctual it is, is measured (bench/overload.mjs).
 */
async function expectDeadline(send: () => Promise<Answer>): Promise<void> {
  await expectLate(send, 504, 'REQUEST_TIMEOUT');
  await until(async () => (await blocker.busy()).length === 0);
}

/** Answers so at its deadline, and no permit is held from then on. */
async function expectLate(
  send: () => Promise<Answer>,
  status: number,
  code: string,
): Promise<void> {
  const startedMs = performance.now();
  const answer = await send();
  const tookMs = performance.now() - startedMs;
  expectProblem(answer, status, code);
  expect(tookMs).toBeGreaterThan(DEADLINE_MS - 100);
  await until(() => schedulerOf().active === 0);
}

describe('a request that is not done in time', () => {
  afterEach(() => blocker.unblock());

  it.each([
    ['a page', EVENTS, NO_CACHE],
    [
      'a page through express',
      EVENTS,
      { ...NO_CACHE, accept: 'application/json;q=0.9, text/html;q=0.1' },
    ],
    ['a page that others may share', `${EVENTS}?limit=7`, {}],
    ['a total', `${EVENTS}?include_total=true`, NO_CACHE],
  ])('is cancelled in PostgreSQL: %s', async (_, path, headers) => {
    await blocker.blockReads();
    await expectDeadline(() => service.get(path, token, headers));
  });

  it('stores nothing when it has a transaction to itself', async () => {
    const before = await blocker.events();
    await blocker.blockWrites();
    await expectDeadline(() => service.post(`${EVENTS}/bulk`, token, many(1000)));
    await blocker.unblock();
    const after = await service.post(EVENTS, token, eventWith());
    expect(after.status).toBe(201);
    expect(await blocker.events()).toBe(before + 1);
  });

  it.each([
    ['one event', EVENTS, eventWith(), 1],
    ['one event through express', `${EVENTS}?way=ordinary`, eventWith(), 1],
    ['some events', `${EVENTS}/bulk`, many(20), 20],
  ])(
    'has an unknown outcome when it is one statement, which commits: %s',
    async (_, path, body, count) => {
      const before = await blocker.events();
      await blocker.blockWrites();
      await expectLate(() => service.post(path, token, body), 503, 'DATABASE_UNAVAILABLE');
      expect(await blocker.busy()).toHaveLength(1); // not cancelled
      await blocker.unblock();
      await until(async () => (await blocker.events()) === before + count);
    },
  );

  it('while it waits for the next transaction is not stored', async () => {
    const before = await blocker.events();
    await blocker.blockWrites();
    const running = service.post(EVENTS, token, eventWith()); // has a transaction; the others wait for the next one
    await until(async () => (await blocker.busy()).length > 0);
    const headers = (key: number) => ({ 'idempotency-key': `retry-${key}` });
    const bodies = Array.from({ length: 5 }, (_, index) => eventWith({ action: `a${index}` }));
    const sent = bodies.map((body, key) => service.post(EVENTS, token, body, headers(key)));
    for (const answer of await Promise.all(sent)) expectProblem(answer, 504, 'REQUEST_TIMEOUT');
    expectProblem(await running, 503, 'DATABASE_UNAVAILABLE');
    await blocker.unblock();
    await until(async () => (await blocker.events()) === before + 1);
    for (const [key, body] of bodies.entries()) {
      const answer = await service.post(EVENTS, token, body, headers(key));
      expect(answer.status).toBe(201);
      expect(answer.headers.get('idempotency-replayed')).toBeNull();
    }
    expect(await blocker.events()).toBe(before + 1 + bodies.length);
  });

  it('leaves a service that goes on as before', async () => {
    await blocker.blockReads();
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, index) => service.get(`${EVENTS}?limit=${index + 1}`, token)),
    );
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 504));
    await blocker.unblock();
    await until(async () => (await blocker.busy()).length === 0);
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) => service.get(`${EVENTS}?limit=${index + 1}`, token)),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  });
});

describe('a request that takes longer than that to arrive', () => {
  const mutation =
    'mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) { created } }';
  const large = { metadata: { text: 'x'.repeat(200_000) } };
  it.each([
    ['an event', EVENTS, eventWith()],
    ['a large event', EVENTS, eventWith(large)],
    ['some events', `${EVENTS}/bulk`, many(20)],
    ['many events', `${EVENTS}/bulk`, many(2000)],
    ['many events by tRPC', '/trpc/performance.bulkCreateAuditEvents', many(2000)],
    [
      'many events by GraphQL',
      '/graphql',
      {
        query: mutation,
        variables: { events: many(2000).events.map((event) => ({ ...event, status: 'SUCCESS' })) },
      },
    ],
  ])('has all of its time from then on: %s', async (_, path, body) => {
    const bytes = Buffer.from(JSON.stringify(body));
    const before = await blocker.events();
    const sending = request(`${service.url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': bytes.length,
      },
    });
    sending.write(bytes.subarray(0, bytes.length / 2));
    await new Promise((resolve) => setTimeout(resolve, DEADLINE_MS + 100));
    sending.end(bytes.subarray(bytes.length / 2));
    const [answer] = (await once(sending, 'response')) as [IncomingMessage];
    expect([200, 201]).toContain(answer.statusCode);
    answer.resume();
    expect(await blocker.events()).toBeGreaterThan(before);
  });
});

describe('a client that hangs up', () => {
  afterEach(() => blocker.unblock());

  it.each([
    ['a read', `GET ${EVENTS} HTTP/1.1`, '', true],
    [
      'a write, but for the statement that commits',
      `POST ${EVENTS} HTTP/1.1`,
      JSON.stringify(eventWith()),
      false,
    ],
    ['a large write', `POST ${EVENTS}/bulk HTTP/1.1`, JSON.stringify(many(500)), true],
  ])('is worked for no more: %s', async (_, line, body, isCancelled) => {
    await blocker.blockReads();
    const socket = connect(service.port, '127.0.0.1');
    socket.write(
      `${line}\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nCache-Control: no-cache\r\n` +
        (body ? `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` : '') +
        `\r\n${body}`,
    );
    await until(async () => (await blocker.busy()).length > 0);
    const { active, cancelled, timedOut } = schedulerOf();
    expect(active).toBe(1);
    socket.destroy();
    await once(socket, 'close');
    await until(() => schedulerOf().active === 0);
    if (isCancelled) await until(async () => (await blocker.busy()).length === 0);
    else expect(await blocker.busy()).toHaveLength(1);
    expect(schedulerOf()).toMatchObject({ cancelled: cancelled + 1, timedOut }); // not by its deadline
  });
});
