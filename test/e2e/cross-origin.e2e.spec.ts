import { TailClient } from '../support/tail-client';
import { TICKETS, ticketFor } from '../support/tickets';
import {
  EVENTS,
  eventWith,
  type RequestOptions,
  TestService,
  tokenOf,
} from '../support/test-service';

const CONSOLE = 'https://console.example';
const ALL_SCOPES = 'audit:read audit:write audit:export performance:read performance:manage';

/** Readable by every page (Fetch, CORS-safelisted response-header names), or of no use to a script. */
const NOT_EXPOSED = new Set([
  ...['cache-control', 'content-language', 'content-length', 'content-type', 'expires'],
  ...['last-modified', 'pragma', 'connection', 'keep-alive', 'date', 'transfer-encoding'],
  ...['content-encoding', 'trailer', 'vary', 'x-accel-buffering', 'strict-transport-security'],
  ...['content-security-policy', 'referrer-policy', 'x-content-type-options', 'x-frame-options'],
  ...['cross-origin-resource-policy', 'access-control-allow-origin'],
  'access-control-expose-headers',
]);

const sharing = (headers: Headers) => [
  headers.get('access-control-allow-origin'),
  headers.get('access-control-allow-methods'),
  headers.get('access-control-expose-headers'),
];
const listOf = (text: string | null) => (text ?? '').toLowerCase().split(/, */);

const preflight = (service: TestService, path: string, origin = CONSOLE, names?: string) =>
  service.request('OPTIONS', path, {
    headers: {
      origin,
      'access-control-request-method': 'POST',
      ...(names === undefined ? {} : { 'access-control-request-headers': names }),
    },
  });

describe('pages of other origins', () => {
  let service: TestService;
  let token: string;
  let id: string;

  beforeAll(async () => {
    service = await TestService.start({
      CORS_ORIGINS: `http://localhost:5173, ${CONSOLE}:443`,
      RATE_LIMIT_ENABLED: 'true',
    });
    token = await tokenOf({ scope: ALL_SCOPES });
    id = ((await service.post(EVENTS, token, eventWith())).json as { id: string }).id;
  });
  afterAll(async () => {
    await service.stop();
    delete process.env.CORS_ORIGINS;
    delete process.env.RATE_LIMIT_ENABLED;
  });

  const fromConsole = (method: string, path: string, options: RequestOptions = {}) =>
    service.request(method, path, { ...options, headers: { origin: CONSOLE, ...options.headers } });

  it.each([
    EVENTS,
    `${EVENTS}/bulk`,
    `${EVENTS}/00000000-0000-4000-8000-000000000000`,
    `${EVENTS}/stream?format=csv`,
    `${EVENTS}/tail`,
    '/api/v1/performance/audit/events',
    '/api/v1/performance/cache?pattern=*',
    TICKETS,
    '/graphql',
    '/trpc/performance.getMetrics?batch=1',
    '/health',
    '/no/such/route',
  ])('are told by a preflight of %s that they may call it', async (path) => {
    const names = 'authorization,content-type,idempotency-key, x-of-a-tracer';
    const { status, headers, text } = await preflight(service, path, CONSOLE, names);
    expect([status, text]).toEqual([204, '']);
    expect(headers.get('access-control-allow-origin')).toBe(CONSOLE);
    expect(headers.get('access-control-allow-headers')).toBe(names);
    expect(listOf(headers.get('access-control-allow-methods'))).toEqual(
      expect.arrayContaining(['get', 'post', 'delete']),
    );
    expect(Number(headers.get('access-control-max-age'))).toBeGreaterThan(0);
    expect(headers.has('access-control-allow-credentials')).toBe(false);
    expect(listOf(headers.get('vary'))).toEqual(expect.arrayContaining(['origin']));
  });

  const requests: [string, string, () => [string, string, RequestOptions]][] = [
    ['a write', '201', () => ['POST', EVENTS, { token, body: eventWith() }]],
    [
      'a bulk write',
      '201',
      () => ['POST', `${EVENTS}/bulk`, { token, body: { events: [eventWith()] } }],
    ],
    [
      'NDJSON',
      '200',
      () => [
        'POST',
        `${EVENTS}/bulk`,
        {
          token,
          body: JSON.stringify(eventWith()),
          headers: { 'content-type': 'application/x-ndjson' },
        },
      ],
    ],
    ['a page', '200', () => ['GET', EVENTS, { token }]],
    ['a cached page', '200', () => ['GET', EVENTS, { token }]],
    [
      'an unusual page',
      '200',
      () => ['GET', EVENTS, { token, headers: { accept: 'text/*, application/json' } }],
    ],
    ['one event', '200', () => ['GET', `${EVENTS}/${id}`, { token }]],
    ['an export', '200', () => ['GET', `${EVENTS}/stream?format=csv`, { token }]],
    ['a ticket', '201', () => ['POST', TICKETS, { token }]],
    ['a bad ticket', '401', () => ['GET', `${EVENTS}/tail?ticket=x`, {}]],
    ['GraphQL', '200', () => ['POST', '/graphql', { token, body: { query: '{ __typename }' } }]],
    ['tRPC', '200', () => ['GET', '/trpc/performance.getMetrics', { token }]],
    ['a tRPC failure', '401', () => ['GET', '/trpc/performance.getMetrics', {}]],
    ['a GraphQL failure', '401', () => ['POST', '/graphql', { body: { query: '{ __typename }' } }]],
    ['a missing token', '401', () => ['GET', EVENTS, {}]],
    ['a violation', '400', () => ['POST', EVENTS, { token, body: { action: 1 } }]],
    ['a foreign organization', '403', () => ['GET', `${EVENTS}?organization_ids=org-9`, { token }]],
    ['an unknown route', '404', () => ['GET', '/no/such/route', { token }]],
    ['a wrong method', '405', () => ['DELETE', EVENTS, { token }]],
    ['a target that is none', '400', () => ['GET', `${EVENTS}?limit=1&limit=2`, { token }]],
    ['a probe', '200', () => ['GET', '/health/ready', {}]],
  ];

  it.each(requests)(
    'read the response and all of its headers of %s (%s)',
    async (_name, status, ask) => {
      const { headers, ...answer } = await fromConsole(...ask());
      expect(String(answer.status)).toBe(status);
      expect(headers.get('access-control-allow-origin')).toBe(CONSOLE);
      expect(listOf(headers.get('vary'))).toContain('origin');
      const exposed = listOf(headers.get('access-control-expose-headers'));
      const own = [...headers.keys()].filter((name) => !NOT_EXPOSED.has(name));
      expect(own.filter((name) => !exposed.includes(name))).toEqual([]);
    },
  );

  it('read a cached response, and that it has not changed', async () => {
    const first = await fromConsole('GET', EVENTS, { token });
    const again = await fromConsole('GET', EVENTS, {
      token,
      headers: { 'if-none-match': first.headers.get('etag') ?? '' },
    });
    expect(again.status).toBe(304);
    expect(again.headers.get('access-control-allow-origin')).toBe(CONSOLE);
    expect(listOf(again.headers.get('vary'))).toEqual([
      'authorization',
      'accept-encoding',
      'origin',
    ]);
    const other = await service.get(EVENTS, token, { origin: 'http://localhost:5173' });
    expect(other.headers.get('x-cache')).toBe('HIT');
    expect(other.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
  });

  it('read a live feed', async () => {
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${token}`,
      origin: CONSOLE,
    });
    expect(tail.response.headers.get('access-control-allow-origin')).toBe(CONSOLE);
    await tail.close();
  });

  it('follow a live feed with a ticket, as EventSource does: without a preflight', async () => {
    const ticket = await ticketFor(service.url, token);
    const url = `${service.url}${EVENTS}/tail?ticket=${ticket}`;
    const tail = await TailClient.open(url, { origin: CONSOLE });
    expect(tail.response.status).toBe(200);
    expect(tail.response.headers.get('access-control-allow-origin')).toBe(CONSOLE);
    await tail.close();
  });

  it.each(['https://console.example.evil', 'http://console.example', 'null'])(
    'read nothing when they are of %s',
    async (origin) => {
      const { status, headers } = await preflight(service, EVENTS, origin, 'authorization');
      expect(status).toBe(405);
      expect(sharing(headers)).toEqual([null, null, null]);
      const answer = await service.get(EVENTS, token, { origin });
      expect(sharing(answer.headers)).toEqual([null, null, null]);
      expect(listOf(answer.headers.get('vary'))).toContain('origin');
    },
  );

  it('are considered by caches of responses to others', async () => {
    const { headers } = await service.get(EVENTS, token);
    expect(listOf(headers.get('vary'))).toContain('origin');
  });

  it('get no header back that is none', async () => {
    const { status, headers } = await preflight(service, EVENTS, CONSOLE, 'authorization; x');
    expect(status).toBe(204);
    expect(headers.has('access-control-allow-headers')).toBe(false);
  });
});

it('pages of all origins read responses with CORS_ORIGINS=*', async () => {
  const service = await TestService.start({ CORS_ORIGINS: '*' });
  try {
    const { status, headers } = await preflight(service, EVENTS, 'null', 'authorization');
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, '*']);
    const page = await service.get(EVENTS, await tokenOf(), { origin: CONSOLE });
    expect(page.headers.get('access-control-allow-origin')).toBe('*');
    expect(page.headers.has('access-control-allow-credentials')).toBe(false);
  } finally {
    await service.stop();
    delete process.env.CORS_ORIGINS;
  }
});

it('no page of another origin reads anything without the setting', async () => {
  const service = await TestService.start();
  try {
    const asked = await preflight(service, EVENTS, CONSOLE, 'authorization');
    expect([asked.status, ...sharing(asked.headers)]).toEqual([405, null, null, null]);
    const page = await service.get(EVENTS, await tokenOf(), { origin: CONSOLE });
    expect(sharing(page.headers)).toEqual([null, null, null]);
    expect(page.headers.get('vary')).toBe('Authorization, Accept-Encoding');
  } finally {
    await service.stop();
  }
});
