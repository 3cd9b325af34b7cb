import { createTRPCClient, httpSubscriptionLink, retryLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import type { AppRouter } from '../../src/api/trpc/app-router';
import { Maintenance } from '../../src/maintenance/maintenance';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { SUBPROTOCOL } from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import {
  type Answer,
  EVENTS,
  eventWith,
  TEST_AUTH,
  TestService,
  tokenOf,
} from '../support/test-service';
import { TICKETS, ticketFor } from '../support/tickets';

const MOST = 5;
const SETTINGS = { REDIS_URL: '', SUBSCRIPTIONS_MAX_PER_PRINCIPAL: String(MOST) };
const TAIL = `${EVENTS}/tail`;
const USED = /ticket has been used/;
const EXPIRED = /ticket has expired/;

let one: TestService;
/** A second replica, on the database of the first. */
let two: TestService;

beforeAll(async () => {
  one = await TestService.start(SETTINGS);
  two = await TestService.start(SETTINGS, () => Promise.resolve(one.databaseUrl));
});
afterEach(() => jest.restoreAllMocks());
afterAll(async () => {
  await two?.stop();
  await one?.stop();
});

const newOrganization = () => `org-${randomUUID()}`;
/** A principal of its own, so that specs do not share a limit. */
const reader = (organizations: string[], claims: object = {}) =>
  tokenOf({ sub: randomUUID(), organizations, ...claims });

async function record(organizationId: string, service = one): Promise<void> {
  const token = await tokenOf({ organizations: [organizationId] });
  const answer = await service.post(EVENTS, token, eventWith({ organizationId }));
  expect(answer.status).toBe(201);
}

/** A use of a ticket at a replica: its status, and the text of a refusal. */
async function use(service: TestService, ticket: string, more = '') {
  const tail = await TailClient.open(`${service.url}${TAIL}?ticket=${ticket}${more}`, {});
  const { status } = tail.response;
  if (status === 200) await tail.close();
  return { status, text: status === 200 ? '' : await tail.textOfRefusal() };
}

async function inDatabase(text: string, values: unknown[] = []) {
  const client = await one.connect();
  try {
    return (await client.query(text, values)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

/** EventSource as browsers have it, which sends no headers of the page, and what came of it. */
function follow(url: string) {
  const source = new EventSource(url);
  const seen: { sequence: string; organizationId: string }[] = [];
  const state = { seen, lastId: '', opened: 0, code: 0, close: () => source.close(), source };
  source.addEventListener('open', () => (state.opened += 1));
  source.addEventListener('audit.event', ({ data, lastEventId }) => {
    seen.push(JSON.parse(data as string));
    state.lastId = lastEventId;
  });
  source.addEventListener('error', ({ code = 0 }) => (state.code = code));
  return state;
}

describe('a ticket', () => {
  it('is issued to the holder of a token, once for each request, and kept by no cache', async () => {
    const token = await reader(['org-1']);
    const before = Date.now();
    const answers = [await one.request('POST', TICKETS, { token })];
    answers.push(await one.request('POST', TICKETS, { token, body: { anything: 1 } }));
    for (const { status, headers, json } of answers) {
      expect([status, headers.get('cache-control')]).toEqual([201, 'no-store']);
      expect(Object.keys(json)).toEqual(['ticket', 'expiresAt']);
      expect(json.ticket).toMatch(/^[A-Za-z0-9_-]{72}$/);
      const lifeMs = Date.parse(json.expiresAt) - before;
      expect(lifeMs).toBeGreaterThan(50_000);
      expect(lifeMs).toBeLessThan(120_000);
    }
    expect(answers[0]?.json.ticket).not.toBe(answers[1]?.json.ticket);
    expectProblem(await one.request('POST', TICKETS), 401, 'UNAUTHENTICATED');
    expectProblem(await one.request('GET', TICKETS, { token }), 405, 'METHOD_NOT_ALLOWED');
  });

  it('does not outlive its token', async () => {
    const exp = Math.floor(Date.now() / 1000) + 20;
    const { json } = await one.request('POST', TICKETS, {
      token: await reader(['org-1'], { exp }),
    });
    expect(Date.parse(json.expiresAt)).toBe(exp * 1000);
  });

  it('is not in the database, nor is the token to be read there', async () => {
    const sub = randomUUID();
    const token = await reader(['org-1'], { sub });
    const ticket = await ticketFor(one.url, token);
    const rows = await inDatabase('SELECT * FROM access_ticket WHERE subject = $1', [sub]);
    expect(rows).toHaveLength(1);
    const bytes = Buffer.from(ticket, 'base64url');
    const texts = [token, token.split('.')[1] ?? '', ticket];
    for (const value of Object.values(rows[0] ?? {}).filter((one) => Buffer.isBuffer(one))) {
      expect(texts.some((text) => value.includes(text))).toBe(false);
      expect(value.includes(bytes.subarray(6, 38))).toBe(false);
    }
  });

  it('opens a feed of EventSource on another replica, which goes on with a new ticket', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    const first = follow(`${two.url}${TAIL}?ticket=${await ticketFor(one.url, token)}`);
    await until(() => first.opened === 1);
    await record(newOrganization());
    await record(organization);
    await until(() => first.seen.length === 1);
    first.close();
    await record(organization);
    const query = new URLSearchParams({
      after_sequence: first.lastId,
      ticket: await ticketFor(two.url, token),
    });
    const second = follow(`${one.url}${TAIL}?${query.toString()}`);
    await record(organization, two);
    await until(() => second.seen.length === 2);
    expect([...first.seen, ...second.seen]).toEqual(
      ['1', '2', '3'].map((sequence) =>
        expect.objectContaining({ sequence, organizationId: organization }),
      ),
    );
    second.close();
  });

  it('is used up when EventSource connects again by itself, which closes it', async () => {
    const tail = follow(
      `${one.url}${TAIL}?ticket=${await ticketFor(one.url, await reader(['x']))}`,
    );
    await until(() => tail.opened === 1);
    one.httpServer.server.closeAllConnections();
    await until(() => tail.source.readyState === EventSource.CLOSED);
    expect([tail.code, tail.opened]).toEqual([401, 1]);
    tail.close();
  });

  it('opens one feed, however many ask at once on all replicas', async () => {
    for (let round = 0; round < 3; round += 1) {
      const ticket = await ticketFor(one.url, await reader(['org-1']));
      const uses = await Promise.all(
        Array.from({ length: 12 }, (_, index) => use(index % 2 === 0 ? one : two, ticket)),
      );
      expect(uses.filter(({ status }) => status === 200)).toHaveLength(1);
      const refused = uses.filter(({ status }) => status === 401);
      expect(refused).toHaveLength(11);
      expect(refused.every(({ text }) => USED.test(text))).toBe(true);
    }
  });

  it('says when it has expired, before and after its row is removed', async () => {
    const sub = randomUUID();
    const ticket = await ticketFor(one.url, await reader(['org-1'], { sub }));
    const expire = `UPDATE access_ticket SET expires_at = clock_timestamp() - interval '1 ms' WHERE subject = $1`;
    await inDatabase(expire, [sub]);
    const refused = await use(two, ticket);
    expect([refused.status, refused.text]).toEqual([401, expect.stringMatching(EXPIRED)]);

    const other = await ticketFor(one.url, await reader(['org-1'], { sub }));
    await inDatabase(expire, [sub]);
    await one.provider(Maintenance).run();
    expect(await inDatabase('SELECT FROM access_ticket WHERE subject = $1', [sub])).toEqual([]);
    const now = Date.now() + 61_000;
    jest.spyOn(Date, 'now').mockImplementation(() => now);
    expect((await use(one, other)).text).toMatch(EXPIRED);
  });

  it('is worth what its token is worth when it is used', async () => {
    const exp = Math.floor(Date.now() / 1000) + 30;
    const short = await ticketFor(one.url, await reader(['org-1'], { exp }));
    const long = await ticketFor(one.url, await reader(['org-1']));
    const withdrawn = await TestService.start(
      { ...SETTINGS, AUTH_JWT_SECRET: 'another secret, after a rotation without the previous one' },
      () => Promise.resolve(one.databaseUrl),
    );
    try {
      const refused = await use(withdrawn, long);
      expect([refused.status, refused.text]).toEqual([
        401,
        expect.stringContaining('The token is not valid.'),
      ]);
    } finally {
      await withdrawn.stop();
      Object.assign(process.env, TEST_AUTH);
    }
    const past = exp * 1000 + 1;
    jest.spyOn(Date, 'now').mockImplementation(() => past);
    expect((await use(two, short)).text).toContain('The token has expired.');
  });

  it('gives the scopes and organizations of its token, and no more', async () => {
    const writer = await ticketFor(one.url, await reader(['org-1'], { scope: 'audit:write' }));
    expect(await use(one, writer)).toEqual({
      status: 403,
      text: expect.stringContaining('audit:read'),
    });
    const foreign = await ticketFor(one.url, await reader(['org-1']));
    expect((await use(one, foreign, '&organization_ids=org-2')).status).toBe(403);
  });

  it('opens a feed that ends with the token', async () => {
    const exp = Math.floor(Date.now() / 1000) + 3;
    const ticket = await ticketFor(one.url, await reader([newOrganization()], { exp }));
    const tail = await TailClient.open(`${one.url}${TAIL}?ticket=${ticket}`, {});
    await until(() => tail.isOver);
    expect(tail.messages.at(-1)).toMatchObject({
      event: 'error',
      data: expect.stringContaining('"UNAUTHENTICATED"'),
    });
  });

  it.each([
    ['nothing', ''],
    ['any text', 'ticket'],
    ['as many random bytes', Buffer.alloc(54, 7).toString('base64url')],
    ['a token', 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln'],
  ])('is none if it is %s', async (_, ticket) => {
    const refused = await use(one, ticket);
    expect(refused.status).toBe(401);
    expect(JSON.parse(refused.text)).toMatchObject({
      code: 'UNAUTHENTICATED',
      detail: 'The ticket is not valid.',
    });
  });

  it('is refused twice, and beside a token', async () => {
    const token = await reader(['org-1']);
    const ticket = await ticketFor(one.url, token);
    const twice = await one.get(`${TAIL}?ticket=${ticket}&ticket=${ticket}`);
    expectProblem(twice, 400, 'VALIDATION_FAILED');
    expect(twice.json.errors).toEqual([{ path: 'ticket', message: 'must be given once' }]);
    const both = await one.get(`${TAIL}?ticket=${ticket}`, token);
    expectProblem(both, 400, 'VALIDATION_FAILED');
    expect(both.json.errors[0].message).toContain('together with a token');
    expect((await use(one, ticket)).status).toBe(200); // none of these has used it
  });

  it('is one of a bounded number for each principal', async () => {
    const sub = randomUUID();
    const token = await reader(['org-1'], { sub });
    const ask = (service: TestService) => service.request('POST', TICKETS, { token });
    const answers = await Promise.all(
      Array.from({ length: 4 * MOST }, (_, index) => ask(index % 2 === 0 ? one : two)),
    );
    const issued = answers.filter(({ status }) => status === 201);
    expect(issued).toHaveLength(MOST);
    for (const refused of answers.filter(({ status }) => status !== 201)) {
      expectProblem(refused, 429, 'RATE_LIMITED');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect((await one.request('POST', TICKETS, { token: await reader(['org-1']) })).status).toBe(
      201,
    );
    expect((await use(two, issued[0]?.json.ticket as string)).status).toBe(200);
    expect((await ask(one)).status).toBe(201);
    expect((await ask(one)).status).toBe(429);
    // Those that have expired do not count, and are removed.
    await inDatabase(`UPDATE access_ticket SET expires_at = now() WHERE subject = $1`, [sub]);
    expect((await ask(two)).status).toBe(201);
    expect(await inDatabase('SELECT FROM access_ticket WHERE subject = $1', [sub])).toHaveLength(1);
  });

  it('of the database is gone: the answer says that the database is away, not that it is used', async () => {
    const ticket = await ticketFor(one.url, await reader(['org-1']));
    await inDatabase('ALTER TABLE access_ticket RENAME TO access_ticket_away');
    const refused = await use(one, ticket);
    await inDatabase('ALTER TABLE access_ticket_away RENAME TO access_ticket');
    expect(refused.status).toBeGreaterThanOrEqual(500);
    expect((await use(one, ticket)).status).toBe(200);
  });
});

describe('tickets that wait in the database', () => {
  let small: TestService;

  beforeAll(async () => {
    const settings = { ...SETTINGS, DATABASE_POOL_MAX: '4', DATABASE_ACQUIRE_TIMEOUT_MS: '3000' };
    small = await TestService.start(settings);
  });
  afterAll(() => small?.stop());

  it('leave the connections to reads of others, and end when the wait is long', async () => {
    const organizationId = newOrganization();
    const [flooder, other] = [await reader([organizationId]), await reader([organizationId])];
    const blocker = await small.connect();
    try {
      // As the transaction of a replica that hangs.
      await blocker.query('BEGIN; LOCK TABLE access_ticket IN EXCLUSIVE MODE');
      const flood = Array.from({ length: 20 }, () => small.post(TICKETS, flooder, ''));
      await until(async () => {
        const { rows } = await blocker.query(
          `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
        );
        return rows.length > 0;
      });
      const headers = { 'cache-control': 'no-cache' };
      const reads = Array.from({ length: 5 }, () => small.get(EVENTS, other, headers));
      expect((await Promise.all(reads)).map(({ status }) => status)).toEqual(Array(5).fill(200));
      const [first] = flood;
      const refused = await first;
      expectProblem(refused, 503, 'DATABASE_UNAVAILABLE');
      expect(refused?.headers.get('retry-after')).toBe('2');
      await blocker.query('ROLLBACK');
      const statuses = (await Promise.all(flood)).map(({ status }) => status);
      expect(new Set(statuses)).toEqual(new Set([201, 429, 503]));
      expect(statuses.filter((status) => status === 201)).toHaveLength(MOST);
    } finally {
      await blocker.end();
    }
  });
});

describe('a route that is no feed', () => {
  const routes: [string, string, object | undefined][] = [
    ['GET', EVENTS, undefined],
    ['POST', EVENTS, eventWith()],
    ['POST', `${EVENTS}/bulk`, { events: [eventWith()] }],
    ['GET', `${EVENTS}/${randomUUID()}`, undefined],
    ['GET', `${EVENTS}/stream`, undefined],
    ['GET', '/api/v1/performance/audit/events', undefined],
    ['GET', '/api/v1/performance/metrics', undefined],
    ['DELETE', '/api/v1/performance/cache?pattern=*', undefined],
    ['POST', TICKETS, undefined],
    ['GET', '/graphql?query={__typename}', undefined],
    ['POST', '/graphql', { query: '{__typename}' }],
    ['GET', '/trpc/performance.getMetrics', undefined],
    ['GET', '/trpc/performance.streamAuditEvents', undefined],
    ['GET', '/trpc/performance.auditEventRecorded', undefined],
    ['POST', '/trpc/performance.bulkCreateAuditEvents', { events: [eventWith()] }],
  ];
  const told = ({ text }: Answer) => text.includes('opens live feeds alone');

  it.each(routes)('refuses tickets: %s %s', async (method, path, body) => {
    const scope = 'audit:read audit:write audit:export performance:read performance:manage';
    const token = await reader(['org-1'], { scope });
    await one.get(EVENTS, token); // so that the fast routes would take the token
    const ticket = await ticketFor(one.url, token);
    const target = `${path}${path.includes('?') ? '&' : '?'}ticket=${ticket}`;
    // tRPC sends the failure of a subscription as an event.
    const status = path.endsWith('auditEventRecorded') ? 200 : 400;
    for (const own of [undefined, token]) {
      const refused = await one.request(method, target, { body, token: own });
      expect([refused.status, told(refused)]).toEqual([status, true]);
      expect(refused.text).not.toContain(ticket);
    }
    expect((await use(one, ticket)).status).toBe(200); // it has not been used
  });

  it.each(['performance.getMetrics', 'performance.auditEventRecorded,x'])(
    'refuses tickets for what is no subscription, or a batch: %s',
    async (path) => {
      const ticket = await ticketFor(one.url, await reader(['org-1']));
      const headers = { accept: 'text/event-stream' };
      const refused = await one.get(`/trpc/${path}?batch=1&ticket=${ticket}`, undefined, headers);
      expect(refused.status).not.toBe(200);
      expect(refused.text).not.toContain(ticket);
      expect((await use(one, ticket)).status).toBe(200);
    },
  );

  it('that is public takes no notice of a ticket', async () => {
    expect((await one.get('/health/live?ticket=x')).status).toBe(200);
  });
});

describe('the stock client of tRPC in a browser', () => {
  it('follows with a ticket for each connection, and goes on after the last event', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    let asked = 0;
    const client = createTRPCClient<AppRouter>({
      links: [
        retryLink({ retry: ({ op }) => op.type === 'subscription' }),
        httpSubscriptionLink({
          EventSource,
          url: async () => {
            asked += 1;
            return `${two.url}/trpc?ticket=${await ticketFor(one.url, token)}`;
          },
        }),
      ],
    });
    const seen: string[] = [];
    let started = 0;
    const subscription = client.performance.auditEventRecorded.subscribe(undefined, {
      onStarted: () => (started += 1),
      onData: ({ data }) => seen.push(data.sequence),
    });
    await until(() => started === 1);
    await record(organization);
    await until(() => seen.length === 1);
    two.httpServer.server.closeAllConnections();
    await record(organization);
    await until(() => seen.length === 2);
    await record(organization);
    await until(() => seen.length === 3);
    expect(seen).toEqual(['1', '2', '3']);
    expect(asked).toBe(2);
    subscription.unsubscribe();
  });

  it('streams a list', async () => {
    const organization = newOrganization();
    const token = await reader([organization], { scope: 'audit:export' });
    await record(organization);
    const ticket = await ticketFor(one.url, token);
    const source = new EventSource(
      `${two.url}/trpc/performance.streamAuditEvents?ticket=${ticket}`,
    );
    const [message] = (await once(source as never, 'message')) as [MessageEvent];
    source.close();
    expect(message.data).toContain(organization);
  });
});

describe('a socket of GraphQL', () => {
  const QUERY =
    'subscription { auditEventRecorded(afterSequence: "0") { sequence organizationId } }';
  const urlOf = ({ url }: TestService) => `${url.replace('http', 'ws')}/graphql`;

  /** The messages of a bare socket until it closes or has answered, and the close. */
  async function greet(query: string, payload?: object) {
    const socket = new WebSocket(`${urlOf(two)}${query}`, [SUBPROTOCOL]);
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload }));
    const ack = once(socket, 'message').then(([data]) => {
      socket.close();
      return JSON.parse(String(data)) as { type: string };
    });
    const closed = once(socket, 'close').then(([code, reason]) => ({
      code,
      reason: String(reason),
    }));
    return Promise.race([ack, closed]);
  }
  const ACK = { type: 'connection_ack' };

  it('is opened by the stock client with a ticket for each connection', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    const client = createClient({
      url: urlOf(two),
      webSocketImpl: WebSocket,
      lazy: false,
      connectionParams: async () => ({ ticket: await ticketFor(one.url, token) }),
    });
    let connected = 0;
    client.on('connected', () => (connected += 1));
    await until(() => connected === 1);
    const events = client.iterate<{ auditEventRecorded: { sequence: string } }>({ query: QUERY });
    await record(newOrganization());
    await record(organization);
    expect((await events.next()).value?.data?.auditEventRecorded).toEqual({
      sequence: '1',
      organizationId: organization,
    });
    await client.dispose();
  });

  it('is opened by a ticket in the payload or in the query, once', async () => {
    const token = await reader(['org-1']);
    const ticket = () => ticketFor(one.url, token);
    for (const init of [
      (given: string) => greet('', { ticket: given }),
      (given: string) => greet(`?ticket=${given}`),
      (given: string) => greet(`?a=b&ticket=${given}`, { ticket: given }),
    ]) {
      const given = await ticket();
      expect(await init(given)).toEqual(ACK);
      expect(await init(given)).toEqual({ code: 4401, reason: expect.stringMatching(USED) });
    }
  });

  it('opens for one of several that have the same ticket', async () => {
    const ticket = await ticketFor(one.url, await reader(['org-1']));
    const all = await Promise.all(Array.from({ length: 6 }, () => greet('', { ticket })));
    expect(all.filter((result) => 'type' in result)).toHaveLength(1);
    expect(all.filter((result) => 'code' in result && result.code === 4401)).toHaveLength(5);
  });

  it('is closed for no ticket, several, and one beside a token', async () => {
    const token = await reader(['org-1']);
    const authorization = `Bearer ${token}`;
    const [first, second] = [await ticketFor(one.url, token), await ticketFor(one.url, token)];
    expect(await greet('', { ticket: 'x' })).toEqual({
      code: 4401,
      reason: 'The ticket is not valid.',
    });
    expect(await greet('')).toMatchObject({ code: 4401 });
    for (const [query, payload] of [
      ['', { ticket: 1 }],
      ['', { ticket: [first] }],
      [`?ticket=${first}`, { ticket: second }],
      [`?ticket=${first}&ticket=${first}`, {}],
      ['', { ticket: first, authorization }],
      [`?ticket=${first}`, { authorization }],
    ] as const) {
      expect(await greet(query, payload)).toMatchObject({ code: 4400 });
    }
    expect(await greet('', { ticket: first })).toEqual(ACK);
  });
});
