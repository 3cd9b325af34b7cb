import { once } from 'node:events';
import { connect } from 'node:net';
import { Client } from 'pg';
import WebSocket from 'ws';
import { until } from '../integration/until.fixture';
import { initText, SUBPROTOCOL } from '../support/socket-stage';
import { EVENTS, eventWith, TestService, TEST_AUTH, tokenOf } from '../support/test-service';

interface Line {
  level: string;
  context: string;
  message: string;
  [member: string]: unknown;
}

const TRACE = '0af7651916cd43dd8448eb211c80319c';

describe('the log of requests', () => {
  let service: TestService;
  let token: string;
  let log = '';

  beforeAll(async () => {
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({
      LOG_LEVEL: 'trace',
      LOG_FORMAT: 'json',
      SLOW_REQUEST_THRESHOLD_MS: '300',
      SLOW_QUERY_THRESHOLD_MS: '200',
    });
    token = await tokenOf({ sub: 'bob', organizations: ['org-1', 'org-2'] });
  });

  afterAll(async () => {
    await service?.stop();
    jest.restoreAllMocks();
  });

  const lines = (): Line[] =>
    log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  const lineOf = async (requestId: string): Promise<Line> => {
    const find = () =>
      lines().filter((line) => line.context === 'Request' && line.requestId === requestId);
    await until(() => find().length > 0);
    expect(find()).toHaveLength(1);
    return find()[0];
  };

  it.each([
    ['a fast route', 'POST', EVENTS, EVENTS, 201],
    ['a cached read', 'GET', EVENTS, `${EVENTS}?limit=3`, 200],
    ['an ordinary route', 'GET', `${EVENTS}/:id`, `${EVENTS}/not-an-id`, 400],
    ['what no route answers', 'GET', 'unmatched', '/nowhere?a=b', 404],
  ])('has one line for %s', async (_, method, route, path, status) => {
    await service.get(EVENTS, token); // so that the token is known
    const requestId = `log-${Math.random()}`;
    const headers = { 'x-request-id': requestId, traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
    const body = method === 'POST' ? eventWith() : undefined;
    expect((await service.request(method, path, { token, headers, body })).status).toBe(status);
    expect(await lineOf(requestId)).toMatchObject({
      level: 'info',
      message: `${method} ${route} ${status}`,
      traceId: TRACE,
      spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
      ...(route === 'unmatched' ? {} : { principal: 'bob', organization: 2 }),
      method,
      route,
      status,
      ms: expect.any(Number),
    });
  });

  it.each([
    ['tRPC', '/trpc/performance.getOptimizedAuditEvents?input={}', undefined],
    [
      'a tRPC batch',
      `/trpc/performance.getOptimizedAuditEvents,performance.getOptimizedAuditEvents?batch=1&input=${encodeURIComponent('{"0":{},"1":{}}')}`,
      undefined,
    ],
    ['a tRPC stream', '/trpc/performance.streamAuditEvents?input={}', undefined],
    ['a tRPC mutation', '/trpc/performance.bulkCreateAuditEvents', { events: [eventWith()] }],
    ['GraphQL', '/graphql', { query: '{ optimizedAuditEvents { totalCount } }' }],
    ['an export', `${EVENTS}/stream?format=csv`, undefined],
  ])('names principal and organization of %s', async (name, path, body) => {
    const scope = 'audit:read audit:write audit:export';
    const own = await tokenOf({ sub: 'carol', scope });
    const requestId = `principal-${name.replaceAll(' ', '-')}`;
    const headers = { 'x-request-id': requestId };
    await service.request(body ? 'POST' : 'GET', path, { token: own, headers, body });
    expect(await lineOf(requestId)).toMatchObject({ principal: 'carol', organization: 'org-1' });
  });

  it('names principal and organization of an operation on a WebSocket', async () => {
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, SUBPROTOCOL);
    await once(socket, 'open');
    socket.send(initText(await tokenOf({ sub: 'dave' })));
    await once(socket, 'message');
    const payload = { query: '{ optimizedAuditEvents { totalCount } }' };
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    const ofSocket = () => lines().filter(({ method }) => method === 'WS');
    await until(() => ofSocket().length > 0);
    expect(ofSocket()[0]).toMatchObject({ principal: 'dave', organization: 'org-1' });
    socket.close();
  });

  it('has probes and scrapes at debug', async () => {
    for (const path of ['/health/live', '/health', '/metrics']) {
      const requestId = `probe-${path.replaceAll('/', '-')}`;
      await service.get(path, undefined, { 'x-request-id': requestId });
      expect(await lineOf(requestId)).toMatchObject({ level: 'debug', status: 200 });
    }
  });

  it('names the one organization of a token, and * for all', async () => {
    for (const [organizations, organization] of [
      [['org-1'], 'org-1'],
      [['*'], '*'],
    ] as const) {
      const requestId = `organization-${organization === '*' ? 'all' : organization}`;
      const own = await tokenOf({ organizations });
      await service.get(EVENTS, own, { 'x-request-id': requestId });
      expect(await lineOf(requestId)).toMatchObject({ principal: 'alice', organization });
    }
  });

  it('warns of slow requests and slow statements, and counts clients that hang up as 499', async () => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    await client.query('BEGIN');
    await client.query('LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
    const slow = service.get(`${EVENTS}?limit=7`, token, {
      'x-request-id': 'slow-one',
      'cache-control': 'no-cache',
    });
    const left = connect(service.port, '127.0.0.1');
    left.write(
      `GET ${EVENTS}?limit=8 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nX-Request-Id: left\r\n\r\n`,
    );
    await new Promise((resolve) => setTimeout(resolve, 500)); // both have to be slow
    left.destroy();
    await once(left, 'close');
    expect(await lineOf('left')).toMatchObject({ level: 'warn', status: 499, route: EVENTS });
    await client.query('ROLLBACK');
    await client.end();
    expect((await slow).status).toBe(200);
    expect(await lineOf('slow-one')).toMatchObject({
      level: 'warn',
      status: 200,
      message: `Slow: GET ${EVENTS} 200`,
    });
    const statements = lines().filter(({ context }) => context === 'SlowQuery');
    expect(statements.length).toBeGreaterThan(0);
    expect(statements[0]).toMatchObject({
      level: 'warn',
      message: expect.stringMatching(/^Slow query: \S.* took \d+ ms\.$/),
    });
    const { text } = await service.get('/metrics');
    expect(text).toMatch(/^audit_database_slow_queries_total [1-9]/m);
    expect(text).toMatch(/^audit_http_slow_requests_total [1-9]/m);
    expect(text).toMatch(/^audit_http_requests_total\{.*status="499"\} 1$/m);
  });

  it('holds nothing secret and nothing of events, whatever is sent', async () => {
    const marks = {
      action: 'mark-of-action',
      principalId: 'mark-of-principal',
      targetResourceId: 'mark-of-resource',
      outcomeDescription: 'mark-of-outcome',
      metadata: { key: 'mark-of-metadata' },
      sessionContext: { userAgent: 'mark-of-agent' },
    };
    await service.post(EVENTS, token, eventWith(marks));
    await service.post(`${EVENTS}/bulk`, token, {
      events: [eventWith(marks), { bad: 'mark-of-bad' }],
    });
    await service.post(EVENTS, token, eventWith({ ...marks, status: 'mark-of-status' }));
    await service.post(EVENTS, token, '{"mark-of-broken": ');
    await service.get(`${EVENTS}?principal_ids=mark-of-query&limit=x`, token);
    await service.get(`${EVENTS}?actions=mark-of-query`, token);
    await service.get(`/api/v1/mark-of-query?token=${token}`, token);
    await service.get(EVENTS, `${token}x`, { 'x-api-key': 'mark-of-header' });
    await service.get('/health');
    await until(() => lines().filter(({ route }) => route === '/health').length > 0);
    expect(log.split('\n').length).toBeGreaterThan(20);
    for (const secret of [
      token,
      token.split('.')[2] ?? '',
      TEST_AUTH.AUTH_JWT_SECRET,
      'mark-of-action',
      'mark-of-principal',
      'mark-of-resource',
      'mark-of-outcome',
      'mark-of-metadata',
      'mark-of-agent',
      'mark-of-bad',
      'mark-of-status',
      'mark-of-broken',
      'mark-of-header',
    ]) {
      expect(log.includes(secret)).toBe(false);
    }
    // A path that is refused is logged for debugging; what was asked for, in no case.
    expect(log).not.toMatch(/principal_ids|actions=/);
  });
});
