import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';
import { expectProblem } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import { initText, SocketStage, SUBPROTOCOL } from '../support/socket-stage';
import { type Answer, EVENTS, eventWith, type TestService, tokenOf } from '../support/test-service';

let stage: SocketStage;
let service: TestService;
let mine: string;
let theirs: string;

beforeAll(async () => {
  stage = await SocketStage.start();
  ({ service } = stage);
  const scope = 'audit:read audit:write audit:export';
  mine = await tokenOf({ scope, organizations: ['org-1'] });
  theirs = await tokenOf({ sub: 'mallory', scope, organizations: ['org-2'] });
  // Both are known, so that the fast path would take them.
  for (const token of [mine, theirs]) expect((await service.get(EVENTS, token)).status).toBe(200);
});
afterAll(() => service.stop());

async function ask(
  method: string,
  path: string,
  headers: readonly string[],
  body = '',
): Promise<Answer> {
  const lines = ['Host: x', 'Connection: close', ...headers];
  if (body !== '') lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  const head = [`${method} ${path} HTTP/1.1`, ...lines].join('\r\n');
  const [answer] = await sendRaw(service.port, `${head}\r\n\r\n${body}`);
  if (!answer) throw new Error('No answer');
  return answer;
}

const QUERY = `/graphql?query=${encodeURIComponent('{ optimizedAuditEvents { totalCount } }')}`;
const DOORS: [string, string][] = [
  ['a page, on the fast path', EVENTS],
  ['an event', `${EVENTS}/${randomUUID()}`],
  ['a page, asked for with a query', `${EVENTS}?limit=1`],
  ['the other path', '/api/v1/performance/audit/events'],
  ['an export', `${EVENTS}/stream`],
  ['a tail', `${EVENTS}/tail`],
  ['figures', '/api/v1/performance/metrics'],
  ['GraphQL', QUERY],
  ['tRPC', '/trpc/performance.getOptimizedAuditEvents'],
  ['a probe', '/health/live'],
];

describe('a header that identifies the client, given twice', () => {
  it.each(DOORS)('is refused for %s', async (_, path) => {
    const name = 'Authorization';
    for (const headers of [
      [`${name}: Bearer ${mine}`, `${name}: Bearer ${theirs}`],
      [`${name}: Bearer ${mine}`, `authorization: Bearer ${mine}`],
      [`AUTHORIZATION: Bearer ${mine}`, `${name}:`],
    ]) {
      const answer = await ask('GET', path, headers);
      expectProblem(answer, 400, 'VALIDATION_FAILED');
      expect(answer.json.errors).toEqual([
        { path: name, message: 'is a header that must be given once' },
      ]);
    }
  });

  it.each([
    ['Idempotency-Key', 'k'],
    ['Content-Type', 'application/json'],
    ['X-Organization-Id', 'org-1'],
  ])('%s is refused for writes, and nothing is stored', async (name, value) => {
    const organizationId = `org-${randomUUID()}`;
    const token = await tokenOf({ organizations: [organizationId] });
    await service.get(EVENTS, token);
    const event = JSON.stringify(eventWith({ organizationId }));
    const mutation = JSON.stringify({
      query: 'mutation ($e: CreateAuditEventInput!) { createAuditEvent(event: $e) { id } }',
      variables: { e: eventWith({ organizationId, status: 'SUCCESS' }) },
    });
    for (const [path, body] of [
      [EVENTS, event],
      [`${EVENTS}/bulk`, `{"events":[${event}]}`],
      ['/graphql', mutation],
      ['/trpc/performance.bulkCreateAuditEvents', `{"events":[${event}]}`],
    ] as const) {
      const once = name === 'Content-Type' ? [] : ['Content-Type: application/json'];
      const headers = [`Authorization: Bearer ${token}`, ...once];
      const twice = [...headers, `${name}: ${value}`, `${name.toLowerCase()}: ${value}`];
      const answer = await ask('POST', path, twice, body);
      expectProblem(answer, 400, 'VALIDATION_FAILED');
      expect(answer.json.errors[0].path).toBe(name);
    }
    const { json } = await service.get(`${EVENTS}?include_total=true`, token, {
      'cache-control': 'no-cache',
    });
    expect(json.pagination.total).toBe(0);
  });

  it('Last-Event-ID is refused for feeds', async () => {
    const headers = [`Authorization: Bearer ${mine}`, 'Last-Event-ID: 0', 'Last-Event-ID: 5'];
    const answer = await ask('GET', `${EVENTS}/tail`, headers);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.json.errors[0].path).toBe('Last-Event-ID');
  });

  it('others may be repeated: they decide nothing', async () => {
    const answer = await ask('GET', EVENTS, [
      `Authorization: Bearer ${mine}`,
      ...['X-Request-Id: a', 'X-Request-Id: b', 'Accept: text/html', 'Accept: application/json'],
      ...['If-None-Match: "a"', 'If-None-Match: "b"', 'Cookie: a=1', 'Cookie: b=2'],
    ]);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('a handshake', () => {
  const HANDSHAKE = [
    ...['Upgrade: websocket', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
    ...['Sec-WebSocket-Version: 13', `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`],
  ];

  it.each(['Authorization: Bearer a', 'Host: y'])('with %s twice is refused', async (line) => {
    const lines = ['GET /graphql HTTP/1.1', 'Host: x', 'Connection: Upgrade', ...HANDSHAKE];
    const [answer] = await sendRaw(service.port, [...lines, line, line].join('\r\n') + '\r\n\r\n');
    if (!answer) throw new Error('No answer');
    expectProblem(answer, 400, 'VALIDATION_FAILED');
  });

  const open = async (headers: Record<string, string>, text: string): Promise<string | number> => {
    const socket = new WebSocket(`ws://127.0.0.1:${service.port}/graphql`, SUBPROTOCOL, {
      headers,
    });
    await once(socket, 'open');
    socket.send(text);
    const message = once(socket, 'message').then(([data]) => String(data));
    const closed = once(socket, 'close').then(([code]) => code as number);
    const first = await Promise.race([message, closed]);
    socket.terminate();
    return first;
  };
  const init = (payload: string) => `{"type":"connection_init","payload":{${payload}}}`;

  it.each([
    ['in the header and the message', () => theirs, () => initText(mine)],
    [
      'in both spellings',
      undefined,
      () => init(`"authorization":"Bearer ${mine}","Authorization":"Bearer ${theirs}"`),
    ],
    [
      'in the same spelling',
      undefined,
      () => init(`"authorization":"Bearer ${mine}","authorization":"Bearer ${theirs}"`),
    ],
  ])('that tells two tokens %s closes with 4400', async (_, header, text) => {
    const headers = header ? { authorization: `Bearer ${header()}` } : {};
    expect(await open(headers as Record<string, string>, text())).toBe(4400);
  });

  it('with the same token everywhere is accepted', async () => {
    const both = init(`"authorization":"Bearer ${mine}","Authorization":"Bearer ${mine}"`);
    expect(await open({ authorization: `Bearer ${mine}` }, both)).toMatch('connection_ack');
    expect(await open({}, initText(mine))).toMatch('connection_ack');
  });
});

describe('a parameter given twice', () => {
  it.each([
    `${EVENTS}?organization_ids=org-1&organization_ids=org-2`,
    `${EVENTS}/${randomUUID()}?organization_ids=org-2&organization_ids=org-1`,
    `${EVENTS}/stream?organization_ids=org-1&organization_ids=org-2`,
    `${EVENTS}/tail?organization_ids=org-1&organization_ids=org-2`,
  ])('is a list, and each of its organizations has to be of the token: %s', async (path) => {
    expect((await service.get(path, mine)).status).toBe(403);
  });

  it.each([
    [`${EVENTS}?limit=1&limit=2`, 'limit'],
    [`${EVENTS}/stream?format=csv&format=ndjson`, 'format'],
    [`${EVENTS}/tail?start_date=2026-01-01&start_date=2026-01-02`, 'start_date'],
    [`${QUERY}&variables={}&variables={}`, 'variables'],
    [`${QUERY}&${QUERY.slice(QUERY.indexOf('?') + 1)}`, 'query'],
    ['/trpc/performance.getOptimizedAuditEvents?input={}&input={}', 'input'],
    ['/trpc/performance.getMetrics?batch=1&batch=0', 'batch'],
  ])('is refused: %s', async (path, name) => {
    const answer = await service.get(path, mine);
    expect(answer.status).toBe(400);
    expect(answer.text).toContain(`"path":"${name}"`);
    expect(answer.text).toContain('must be given once');
  });
});
