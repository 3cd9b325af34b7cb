import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { Client } from 'pg';
import { HttpServer } from '../../src/http/http-server';
import { until } from '../integration/until.fixture';
import { expectProblem, expectTimed } from '../support/problem';
import { answersIn, sendRaw } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const SMALL = 'limit=1';
const LARGE = 'limit=50';

describe('every response', () => {
  let service: TestService;
  let token: string;

  beforeAll(async () => {
    service = await TestService.start();
    token = await tokenOf();
    const events = Array.from({ length: 50 }, () => eventWith());
    await service.post(`${EVENTS}/bulk`, token, { events });
  });

  afterAll(() => service.stop());

  it.each(['gzip', 'br', 'deflate'])(
    'that is a large page is compressed with %s',
    async (coding) => {
      const path = `${EVENTS}?${LARGE}`;
      const plain = await service.get(path, token, { 'accept-encoding': 'identity' });
      expect(Buffer.byteLength(plain.text)).toBeGreaterThan(1400);
      expect(plain.headers.get('content-encoding')).toBeNull();
      const packed = await service.get(path, token, { 'accept-encoding': coding });
      expect(packed.headers.get('content-encoding')).toBe(coding);
      expect(packed.headers.get('vary')).toMatch(/accept-encoding/i);
      expect(packed.text).toBe(plain.text); // fetch has unpacked it
    },
  );

  it('that is compressed is fewer bytes of real gzip', async () => {
    const [answer] = await sendRawBytes(
      service.port,
      `GET ${EVENTS}?${LARGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        'Accept-Encoding: gzip\r\nConnection: close\r\n\r\n',
    );
    const plain = await service.get(`${EVENTS}?${LARGE}`, token);
    expect(gunzipSync(answer ?? Buffer.alloc(0)).toString()).toBe(plain.text);
    expect(answer?.length).toBeLessThan(Buffer.byteLength(plain.text) / 2);
  });

  it('that is small, or to a write, is not compressed', async () => {
    const accepting = { 'accept-encoding': 'gzip' };
    const small = await service.get(`${EVENTS}?${SMALL}`, token, accepting);
    expect(small.headers.get('content-encoding')).toBeNull();
    const events = Array.from({ length: 100 }, () => eventWith());
    const bulk = await service.post(`${EVENTS}/bulk`, token, { events }, accepting);
    expect(Buffer.byteLength(bulk.text)).toBeGreaterThan(1400);
    const single = await service.post(
      EVENTS,
      token,
      eventWith({ outcomeDescription: 'x'.repeat(5000) }),
      accepting,
    );
    for (const { status, headers } of [bulk, single]) {
      expect(status).toBe(201);
      expect(headers.get('content-encoding')).toBeNull();
    }
  });

  it.each([
    ['a page', 'GET', EVENTS, 200],
    ['a write by the fast route', 'POST', EVENTS, 201],
    ['a write by the ordinary path', 'POST', `${EVENTS}?way=ordinary`, 201],
    ['a refusal', 'GET', `${EVENTS}?limit=0`, 400],
    ['what is not there', 'GET', '/nowhere', 404],
    ['a probe', 'GET', '/health/live', 200],
  ])('says security and timing headers: %s', async (_, method, path, status) => {
    const body = method === 'POST' ? eventWith() : undefined;
    const answer = await service.request(method, path, { token, body });
    expect(answer.status).toBe(status);
    expectTimed(answer);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
    expect(answer.headers.get('x-powered-by')).toBeNull();
  });

  it('that is a page for people has the policy of a page, and stays usable over plain HTTP', async () => {
    const { status, headers } = await service.get('/docs');
    expect(status).toBe(200);
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'self'");
    expect(policy).not.toContain('upgrade-insecure-requests');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
  });

  it.each([
    ['/', true],
    ['/docs-json', false],
  ])(
    'to %s has headers about the request (%s), unless shared caches keep it',
    async (path, has) => {
      const { headers } = await service.get(path, undefined, { 'x-request-id': 'mine' });
      const names = ['x-request-id', 'x-response-time', 'server-timing'];
      expect(names.map((name) => headers.has(name))).toEqual(names.map(() => has));
    },
  );

  it('comes from a service that has made the partitions of this month and three more', async () => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    const { rows } = await client.query<{ name: string }>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits
       WHERE inhparent = 'audit_event'::regclass ORDER BY 1`,
    );
    await client.end();
    const now = new Date();
    const expected = [0, 1, 2, 3].map((ahead) => {
      const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1));
      return `audit_event_${month.toISOString().slice(0, 7).replace('-', '')}`;
    });
    expect(rows.map(({ name }) => name)).toEqual(expected);
  });
});

/** The bodies of answers with a length or in chunks, as bytes. */
async function sendRawBytes(port: number, request: string): Promise<Buffer[]> {
  const socket = connect(port, '127.0.0.1');
  const received: Buffer[] = [];
  socket.on('data', (bytes) => received.push(bytes));
  socket.write(request);
  await once(socket, 'close');
  const all = Buffer.concat(received);
  const start = all.indexOf('\r\n\r\n') + 4;
  const isChunked = /transfer-encoding: chunked/i.test(all.subarray(0, start).toString('latin1'));
  return [isChunked ? unchunked(all.subarray(start)) : all.subarray(start)];
}

function unchunked(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n');
  const length = parseInt(bytes.subarray(0, end).toString('latin1'), 16);
  if (!(length > 0)) return Buffer.alloc(0);
  const start = end + 2;
  return Buffer.concat([
    bytes.subarray(start, start + length),
    unchunked(bytes.subarray(start + length + 2)),
  ]);
}

describe('before the boot has ended', () => {
  let httpServer: HttpServer;
  let port: number;

  beforeAll(async () => {
    httpServer = new HttpServer();
    ({ port } = await httpServer.listen(0, '127.0.0.1'));
  });

  afterAll(() => httpServer.drain(0));

  const get = async (path: string) => {
    const [answer] = await sendRaw(
      port,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    if (!answer) throw new Error('There was no answer');
    return answer;
  };

  it('the service is alive', async () => {
    const answer = await get('/health/live');
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ status: 'ok', info: {}, error: {}, details: {} });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expectTimed(answer);
  });

  it.each(['/health', '/health/ready', '/health/startup', EVENTS, '/docs', '/'])(
    '%s says when to come back',
    async (path) => {
      const answer = await get(path);
      expectProblem(answer, 503, 'NOT_READY');
      expect(answer.headers.get('retry-after')).toBe('1');
    },
  );
});

describe('a client that does not finish its request', () => {
  let httpServer: HttpServer;
  let port: number;

  beforeAll(async () => {
    httpServer = new HttpServer();
    expect(httpServer.server.headersTimeout).toBeGreaterThan(0);
    expect(httpServer.server.requestTimeout).toBeGreaterThan(httpServer.server.headersTimeout);
    httpServer.server.headersTimeout = 100;
    httpServer.server.requestTimeout = 200;
    // Node looks every thirty seconds; it takes the interval only in the options of createServer.
    expect(httpServer.server).toHaveProperty('connectionsCheckingInterval');
    Object.assign(httpServer.server, { connectionsCheckingInterval: 20 });
    ({ port } = await httpServer.listen(0, '127.0.0.1'));
  });

  afterAll(() => httpServer.drain(0));

  it.each([
    ['headers', `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\n`],
    ['rest', `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"`],
  ])('gets a 408 when the %s of it stay away', async (_, part) => {
    httpServer.attach((request) => request.resume(), { find: () => undefined });
    const [answer] = await sendRaw(port, part);
    if (!answer) throw new Error('There was no answer');
    expectProblem(answer, 408, 'CLIENT_TIMEOUT');
    expect(answer.headers.get('connection')).toBe('close');
  });
});

describe('while it drains', () => {
  let service: TestService;
  let token: string;
  let admin: Client;

  beforeAll(async () => {
    service = await TestService.start();
    token = await tokenOf();
    admin = await service.connect();
  });

  afterAll(() => admin.end());

  it('finishes running requests, is not ready, and takes no new connection', async () => {
    await admin.query('BEGIN');
    await admin.query('LOCK audit_organization IN ACCESS EXCLUSIVE MODE');
    const slow = open(service.port);
    const body = JSON.stringify(eventWith());
    slow.socket.write(
      `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until(async () => {
      const { rowCount } = await admin.query('SELECT FROM pg_locks WHERE NOT granted');
      return rowCount === 1;
    });
    // One that has begun its next request is not idle: it is answered too.
    const probing = open(service.port);
    probing.socket.write(
      'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/ready HTTP/1.1\r\nHost: x\r\n',
    );
    await until(() => probing.received().includes('"status":"ok"'));

    const stopping = service.stop();
    probing.socket.write('\r\n');
    await probing.closed;
    const [, notReady] = answersIn(Buffer.from(probing.received()));
    expect(notReady).toMatchObject({
      status: 503,
      json: { error: { lifecycle: { status: 'down', phase: 'draining' } } },
    });
    expect(notReady?.headers.get('connection')).toBe('close');
    await expect(once(connect(service.port, '127.0.0.1'), 'connect')).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    expect(slow.received()).toBe('');

    await admin.query('COMMIT');
    await admin.end(); // the database is dropped at the end of stopping
    await slow.closed;
    const [finished] = answersIn(Buffer.from(slow.received()));
    expect(finished).toMatchObject({ status: 201, json: { sequence: '1' } });
    expect(finished?.headers.get('connection')).toBe('close');
    await stopping;
  });
});

/** A connection and what has come over it. */
function open(port: number): { socket: Socket; received: () => string; closed: Promise<unknown> } {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('data', (bytes) => (received += bytes.toString()));
  return { socket, received: () => received, closed: once(socket, 'close') };
}
