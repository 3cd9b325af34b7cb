import { once } from 'node:events';
import WebSocket from 'ws';
import { until } from '../integration/until.fixture';
import { initText, SUBPROTOCOL } from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

type Line = Record<string, unknown>;

const SCOPE = 'audit:read audit:write audit:export performance:read';
const AGENT = 'spec/1.0 (\u009b31m "quoted")';
const PAGES = 'performance.getOptimizedAuditEvents';

describe('the access log, whatever the protocol', () => {
  let service: TestService;
  let token: string;
  let log = '';
  let count = 0;

  beforeAll(async () => {
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({
      LOG_LEVEL: 'info',
      LOG_FORMAT: 'json',
      TRUSTED_PROXIES: '127.0.0.0/8, ::1, 10.1.0.0/16',
      OTEL_SERVICE_NAME: 'audit-of-spec',
    });
    token = await tokenOf({ sub: 'carol', scope: SCOPE });
  });

  afterAll(async () => {
    await service?.stop();
    jest.restoreAllMocks();
    delete process.env.TRUSTED_PROXIES;
    delete process.env.OTEL_SERVICE_NAME;
  });

  const lines = (): Line[] =>
    log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line)
      .filter(({ context }) => context === 'Request');
  const lineOf = async (requestId: string): Promise<Line> => {
    const find = () => lines().filter((line) => line.requestId === requestId);
    await until(() => find().length > 0);
    return find()[0] ?? {};
  };
  const headersOf = (requestId: string) => ({
    'x-request-id': requestId,
    'x-forwarded-for': '203.0.113.9, 198.51.100.7, 10.1.2.3',
    'user-agent': AGENT,
  });
  const COMPLETE = {
    principal: 'carol',
    organization: 'org-1',
    client: '198.51.100.7',
    userAgent: 'spec/1.0 (\\x9b31m "quoted")',
    service: 'audit-of-spec',
    version: '0.1.0',
    environment: 'test',
  };
  const query = (input: object) => encodeURIComponent(JSON.stringify(input));
  const LINES = { 'trpc-accept': 'application/jsonl' };
  const NDJSON = { 'content-type': 'application/x-ndjson' };
  const oneLine = `${JSON.stringify(eventWith({ organizationId: 'org-1' }))}\n`;

  it.each<[string, string, unknown?, Record<string, string>?]>([
    ['a page of REST', EVENTS],
    ['a write of REST', EVENTS, eventWith({ organizationId: 'org-1' })],
    ['a bulk write', `${EVENTS}/bulk`, { events: [eventWith({ organizationId: 'org-1' })] }],
    ['NDJSON', `${EVENTS}/bulk`, oneLine, NDJSON],
    ['an export', `${EVENTS}/stream?format=csv`],
    ['figures of the service', '/api/v1/performance/metrics'],
    ['GraphQL', '/graphql', { query: '{ optimizedAuditEvents { totalCount } }' }],
    ['tRPC', `/trpc/${PAGES}?input=${query({})}`],
    ['a tRPC batch', `/trpc/${PAGES},${PAGES}?batch=1&input=${query({ 0: {}, 1: {} })}`],
    ['a tRPC mutation', '/trpc/performance.bulkCreateAuditEvents', { events: [eventWith()] }],
    [
      'a tRPC stream',
      `/trpc/performance.streamAuditEvents?batch=1&input=${query({ 0: {} })}`,
      undefined,
      LINES,
    ],
  ])('says who asked, from where and with what: %s', async (...[, path, body, more]) => {
    await service.get(EVENTS, token); // so that the token is known, and fast routes answer
    const requestId = `complete-${(count += 1)}`;
    const headers = { ...headersOf(requestId), ...more };
    const method = body === undefined ? 'GET' : 'POST';
    const { status } = await service.request(method, path, { token, headers, body });
    expect(status).toBeLessThan(300);
    expect(await lineOf(requestId)).toMatchObject({ ...COMPLETE, status });
  });

  it.each([
    ['server-sent events', () => `${EVENTS}/tail`],
    ['tRPC', () => `/trpc/performance.auditEventRecorded?input=${query({})}`],
  ])('a feed over %s that its client leaves has ended well', async (_, path) => {
    const requestId = `feed-${(count += 1)}`;
    const feed = await TailClient.open(`${service.url}${path()}`, {
      ...headersOf(requestId),
      authorization: `Bearer ${token}`,
      accept: 'text/event-stream',
    });
    expect(feed.response.status).toBe(200);
    await feed.close();
    expect(await lineOf(requestId)).toMatchObject({ ...COMPLETE, status: 200, closedBy: 'client' });
  });

  it.each([
    ['completes', (socket: WebSocket) => socket.send('{"id":"1","type":"complete"}')],
    ['closes its socket on', (socket: WebSocket) => socket.close()],
    ['tears', (socket: WebSocket) => socket.terminate()],
  ])('a subscription over a WebSocket that its client %s has ended well', async (_, leave) => {
    const requestId = `socket-${(count += 1)}`;
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, SUBPROTOCOL, {
      headers: headersOf(requestId),
    });
    await once(socket, 'open');
    socket.send(initText(token));
    await once(socket, 'message');
    const payload = { query: 'subscription { auditEventRecorded { id } }' };
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    const written = once(socket, 'message');
    while ((await service.post(EVENTS, token, eventWith({ organizationId: 'org-1' }))).status) {
      const isThere = await Promise.race([
        written.then(() => true),
        new Promise((resolve) => setTimeout(resolve, 50)),
      ]);
      if (isThere === true) break;
    }
    leave(socket);
    expect(await lineOf(requestId)).toMatchObject({ ...COMPLETE, status: 200, closedBy: 'client' });
    socket.terminate();
  });

  it('a WebSocket that is refused has a line, by its handshake or its token', async () => {
    const url = service.url.replace('http', 'ws');
    const handshake = new WebSocket(`${url}/nowhere`, SUBPROTOCOL, {
      headers: headersOf('refused-handshake'),
    });
    await once(handshake, 'error');
    const refused = { method: 'WS', route: 'graphql connect', client: '198.51.100.7' };
    expect(await lineOf('refused-handshake')).toMatchObject({ ...refused, status: 404 });

    const socket = new WebSocket(`${url}/graphql`, SUBPROTOCOL, {
      headers: headersOf('refused-token'),
    });
    await once(socket, 'open');
    socket.send(initText('nonsense'));
    await once(socket, 'close');
    expect(await lineOf('refused-token')).toMatchObject({ ...refused, status: 401 });
  });

  it('an export that its client leaves is incomplete', async () => {
    await service.post(`${EVENTS}/bulk`, token, {
      events: Array.from({ length: 60 }, () =>
        eventWith({ organizationId: 'org-1', metadata: { text: 'x'.repeat(100_000) } }),
      ),
    });
    const requestId = 'left-export';
    const controller = new AbortController();
    const response = await fetch(`${service.url}${EVENTS}/stream`, {
      headers: { ...headersOf(requestId), authorization: `Bearer ${token}` },
      signal: controller.signal,
    });
    expect(response.status).toBe(200);
    controller.abort();
    const line = await lineOf(requestId);
    expect(line).toMatchObject({ ...COMPLETE, status: 499 });
    expect(line).not.toHaveProperty('closedBy');
  });

  it('a refused request names its client, too, and a long user agent is cut', async () => {
    const headers = { ...headersOf('refused'), 'user-agent': 'a'.repeat(5000) };
    await service.get(EVENTS, undefined, headers);
    const line = await lineOf('refused');
    expect(line).toMatchObject({ status: 401, client: '198.51.100.7' });
    expect(line.userAgent).toBe('a'.repeat(256));
    expect(line).not.toHaveProperty('principal');
  });
});
