import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { takenBytes } from '../../src/http/slow-client-guard';
import { until } from '../integration/until.fixture';
import { answersIn } from '../support/raw-http';
import { SocketStage } from '../support/socket-stage';
import { EVENTS, eventWith, type TestService, tokenOf } from '../support/test-service';

const MIB = 1024 * 1024;
const LIMIT_BYTES = 64 * MIB;
const UNREADERS = 12;
const organization = `org-${randomUUID()}`;
/** About 18 MB. */
const PAGE = `${EVENTS}?limit=90`;
const QUERY =
  '{ optimizedAuditEvents(pagination: { limit: 90 }, useCache: false) { edges { node { metadata } } } }';
const SETTINGS = { LOG_LEVEL: 'info', LOG_FORMAT: 'json', CONCURRENCY_MAX_REQUESTS: '4' };

const INPUT = JSON.stringify({ pagination: { limit: 90 }, useCache: false });

const GRAPHQL_PATH = `/graphql?query=${encodeURIComponent(QUERY)}`;
const TRPC_PATH = `/trpc/performance.getOptimizedAuditEvents?input=${encodeURIComponent(INPUT)}`;
const LINES = encodeURIComponent(`{"0":${INPUT},"1":${INPUT}}`).replace('90', '30');
const TRPC_LINES = `/trpc/performance.getOptimizedAuditEvents,performance.getOptimizedAuditEvents?batch=1&input=${LINES}`;

let stage: SocketStage;
let service: TestService;
let token: string;
let log = '';
/** The service's ends of all connections. */
const ends = new Set<Socket>();
const sockets: Socket[] = [];
let usual: { limitBytes: number; stallMs: number };

beforeAll(async () => {
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
  Object.assign(process.env, SETTINGS);
  stage = await SocketStage.start();
  ({ service } = stage);
  const { slowClients, server } = service.httpServer;
  usual = { limitBytes: slowClients.limitBytes, stallMs: slowClients.stallMs };
  server.on('connection', (socket: Socket) => {
    ends.add(socket);
    socket.once('close', () => ends.delete(socket));
  });
  token = await tokenOf({
    organizations: [organization],
    scope: 'audit:read audit:write audit:export',
  });
  // Compressed it is still more than kernels hold for those who do not read.
  const metadata = { text: randomBytes(150_000).toString('base64') };
  const events = Array.from({ length: 30 }, () =>
    eventWith({ organizationId: organization, metadata }),
  );
  for (let time = 0; time < 3; time += 1) {
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  }
}, 60_000);

beforeEach(() => Object.assign(service.httpServer.slowClients, usual, { limitBytes: LIMIT_BYTES }));

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await stage.clear();
  await until(() => service.httpServer.runningRequests === 0);
});

afterAll(async () => {
  await service?.stop();
  for (const name of Object.keys(SETTINGS)) Reflect.deleteProperty(process.env, name);
  jest.restoreAllMocks();
});

const waiting = () =>
  [...ends].reduce(
    (sum, { destroyed, writableLength }) => sum + (destroyed ? 0 : writableLength),
    0,
  );
const head = (path: string, ...headers: string[]) =>
  [`GET ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...headers].join('\r\n') +
  '\r\n\r\n';
const page = () => head(PAGE, 'Cache-Control: no-cache');
const question = (): string => {
  const body = JSON.stringify({ query: QUERY });
  const more = ['Content-Type: application/json', `Content-Length: ${body.length}`];
  return head('/graphql', ...more).replace('GET', 'POST') + body;
};

/** Sends a request and reads nothing; returns the client's end and the service's. */
async function ask(request: string): Promise<{ socket: Socket; end: Socket }> {
  const options = { port: service.port, host: '127.0.0.1', highWaterMark: MIB }; // the last goes to the stream, its type does not know it
  const socket = connect(options);
  sockets.push(socket);
  socket.on('error', () => undefined);
  socket.pause();
  await once(socket, 'connect');
  socket.write(request);
  const { localPort } = socket;
  await until(() => [...ends].some(({ remotePort }) => remotePort === localPort));
  const end = [...ends].find(({ remotePort }) => remotePort === localPort);
  if (!end) throw new Error('The connection has ended already.');
  return { socket, end };
}

/**
 * Reads a little at a time until a whole answer has come, or the connection has ended; by the clock, so that a machine
 * with much else to do does not make it a reader that stands still.
 */
async function readSlowly(socket: Socket, bytesPerMs = 3000): Promise<Buffer> {
  const parts: Buffer[] = [];
  let left = Infinity;
  let lastMs = performance.now();
  while (left > 0 && !socket.destroyed) {
    const nowMs = performance.now();
    const due = Math.floor((nowMs - lastMs) * bytesPerMs);
    lastMs = nowMs;
    const part = socket.read(Math.min(socket.readableLength, due)) as Buffer | null;
    if (part) {
      parts.push(part);
      if (left === Infinity) {
        const text = part.toString('latin1');
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
        left = text.indexOf('\r\n\r\n') + 4 + length;
      }
      left -= part.length;
    }
    await sleep(20);
  }
  return Buffer.concat(parts);
}

/** Its reader has been seen to read: what the kernel holds for one that has just begun looks as if nobody did. */
async function untilItIsRead(end: Socket): Promise<void> {
  await until(() => end.writableLength > 0);
  await sleep(500);
  const before = takenBytes(end);
  await until(() => takenBytes(end) > before);
  await sleep(500);
}

/** So many who read nothing have been answered, and what waits for them fits. */
async function untilTheyAreCut(unreaders: { end: Socket }[], left: number): Promise<void> {
  await until(
    () =>
      unreaders.every(({ end }) => end.destroyed || end.writableLength > 0) &&
      unreaders.filter(({ end }) => !end.destroyed).length <= left,
  );
}

describe('unread responses', () => {
  it.each([
    ['pages', page],
    ['GraphQL', question],
  ])(
    '(%s) are bounded, and clients that read get every byte',
    async (_, request) => {
      const slow = await ask(request());
      const slowAnswer = readSlowly(slow.socket);
      await untilItIsRead(slow.end);
      const unreaders = await Promise.all(Array.from({ length: UNREADERS }, () => ask(request())));
      const fast = await service.get(PAGE, token, { 'cache-control': 'no-cache' });
      await untilTheyAreCut(unreaders, 3);
      await until(() => waiting() <= LIMIT_BYTES);
      expect(fast.json.data).toHaveLength(90);
      const [answer] = answersIn(await slowAnswer);
      expect(answer?.status).toBe(200);
      expect(answer?.text).toHaveLength(Number(answer?.headers.get('content-length')));
      expect(unreaders.filter(({ end }) => !end.destroyed).length).toBeGreaterThan(0);
    },
    60_000,
  );

  it('are in the log and in the metrics, and are requests with status 499', async () => {
    log = '';
    const { slowClients } = service.httpServer;
    Object.assign(slowClients, { reportedMs: -Infinity, limitBytes: MIB });
    const { end } = await ask(page());
    await until(() => end.destroyed);
    await until(() => log.includes('"status":499'));
    await until(() => log.includes('clients did not read'));
    expect(log).toMatch(/Cut \d+ connections whose clients did not read \d+ MiB of answers; 1 MiB/);
    const { text } = await service.get('/metrics');
    expect(text).toMatch(/audit_http_unread_connections_cut_total\{reason="memory"\} [1-9]/);
    expect(text).toMatch(
      /audit_http_requests_total\{method="GET",route="[^"]*",status="499"\} [1-9]/,
    );
    expect(text).toContain('audit_http_unread_response_bytes 0');
  }, 30_000);

  it('are requests with status 499 when their client hangs up while part of them waits here', async () => {
    log = '';
    const { socket, end } = await ask(page());
    await until(() => end.writableLength > 0);
    socket.destroy();
    await until(() => log.includes('"method":"GET"'));
    expect(log).toMatch(/"status":499/);
    expect(log).not.toMatch(/"status":200/);
  });

  it('are counted while they wait behind another one, too', async () => {
    const { end } = await ask(page().repeat(6));
    await until(() => end.destroyed);
  }, 30_000);

  it.each([
    ['GraphQL', GRAPHQL_PATH],
    ['tRPC', TRPC_PATH],
  ])(
    'are counted while they wait in their compressors, too: %s',
    async (_, path) => {
      const request = head(path, 'Accept-Encoding: gzip');
      const unreaders = await Promise.all(Array.from({ length: UNREADERS }, () => ask(request)));
      await untilTheyAreCut(unreaders, 3);
      await until(() => service.httpServer.slowClients.bytes <= LIMIT_BYTES);
      expect(service.httpServer.slowClients.bytes).toBeGreaterThan(18 * MIB);
      const { text } = await service.get(path, token, { 'accept-encoding': 'gzip' });
      expect(text.length).toBeGreaterThan(18_000_000);
      for (const { socket } of unreaders) socket.destroy();
      await until(() => service.httpServer.slowClients.bytes === 0);
    },
    60_000,
  );

  it.each([
    ['a page', page],
    ['a page in gzip', () => head(PAGE, 'Cache-Control: no-cache', 'Accept-Encoding: gzip')],
    ['a page behind another one', () => page().repeat(2)],
    ['GraphQL', question],
    ['GraphQL in gzip', () => head(GRAPHQL_PATH, 'Accept-Encoding: gzip')],
    ['tRPC in gzip', () => head(TRPC_PATH, 'Accept-Encoding: gzip')],
    ['tRPC in lines', () => head(TRPC_LINES, 'trpc-accept: application/jsonl')],
  ])(
    'hold none of the memory for responses that are being made: %s',
    async (_, request) => {
      service.httpServer.slowClients.limitBytes = Infinity;
      const { end } = await ask(request());
      await until(() => service.httpServer.slowClients.bytes > 10 * MIB);
      const metrics = async (): Promise<string> => (await service.get('/metrics')).text;
      await until(async () => /^audit_response_memory_reserved_bytes 0$/m.test(await metrics()));
      expect(end.destroyed).toBe(false);
      expect(service.httpServer.slowClients.bytes).toBeGreaterThan(10 * MIB);
    },
    60_000,
  );

  it('on WebSockets are bounded', async () => {
    service.httpServer.slowClients.limitBytes = 30 * MIB;
    const text = JSON.stringify({ id: '1', type: 'subscribe', payload: { query: QUERY } });
    const silent = await Promise.all(Array.from({ length: 3 }, () => stage.connected(token)));
    const before = ends.size;
    for (const socket of silent) {
      socket.pause();
      socket.send(text);
    }
    await until(() => ends.size <= before - 2);
  }, 60_000);
});

describe('a client that takes nothing for too long', () => {
  it('is disconnected whatever it sends, and one that reads slowly is not', async () => {
    const slow = await ask(page());
    const slowAnswer = readSlowly(slow.socket, 1000);
    await untilItIsRead(slow.end);
    const silent = await ask(page());
    await until(() => silent.end.writableLength > 0);
    Object.assign(service.httpServer.slowClients, { stallMs: 8000, limitBytes: Infinity });
    const socket = await stage.connected(token);
    socket.pause();
    for (let id = 0; id < 4; id += 1) {
      const payload = { query: QUERY };
      socket.send(JSON.stringify({ id: String(id), type: 'subscribe', payload }));
    }
    const webSocketEnd = [...ends].at(-1);
    while (!silent.end.destroyed || !webSocketEnd?.destroyed) {
      silent.socket.write('G');
      socket.ping();
      await sleep(50);
    }
    const { text } = await service.get('/metrics');
    expect(text).toContain('audit_http_unread_connections_cut_total{reason="stalled"} 2');
    const [answer] = answersIn(await slowAnswer);
    expect(answer?.text).toHaveLength(Number(answer?.headers.get('content-length')));
  }, 60_000);

  it('is left to its export, which has its own stall timeout', async () => {
    const exporting = await ask(head(`${EVENTS}/stream?format=ndjson`));
    await until(() => exporting.end.writableLength > 0);
    const silent = await ask(page());
    service.httpServer.slowClients.stallMs = 1000;
    await until(() => silent.end.destroyed);
    expect(exporting.end.destroyed).toBe(false);
  }, 30_000);
});
