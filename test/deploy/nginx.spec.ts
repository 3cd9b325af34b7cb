import { spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { until } from '../integration/until.fixture';
import { hasNginx, startNginx } from './nginx.fixture';

const CONFIGURATION = resolve(__dirname, '..', '..', 'deploy', 'nginx', 'nginx.conf');

/** Whether nginx finds other addresses of a name later: since 1.27.3. */
function canResolveAgain(): boolean {
  const { stderr } = spawnSync('nginx', ['-v'], { encoding: 'utf8' });
  const [major = 0, minor = 0, patch = 0] =
    /nginx\/(\d+)\.(\d+)\.(\d+)/
      .exec(stderr ?? '')
      ?.slice(1)
      .map(Number) ?? [];
  if (major * 1e6 + minor * 1e3 + patch >= 1_027_003) return true;
  process.stderr.write('\n*** nginx BEFORE 1.27.3: MOVED REPLICAS ARE NOT TESTED ***\n\n');
  return false;
}

/** A replica that tells what it was asked, and answers as told. */
async function startReplica(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
  host = '127.0.0.1',
  port = 0,
): Promise<Server> {
  const server = createServer(answer);
  server.keepAliveTimeout = 65_000;
  server.on('upgrade', (incoming, socket) => {
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${incoming.headers.upgrade}\r\n\r\nhello`,
    );
  });
  await once(server.listen(port, host), 'listening');
  return server;
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

(hasNginx() ? describe : describe.skip)('deploy/nginx/nginx.conf', () => {
  let home: string;
  let nginx: Awaited<ReturnType<typeof startNginx>>;
  let url: string;
  let replicas: Server[];
  const asked: IncomingMessage[] = [];
  let answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void;

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'audit-nginx-'));
    const replica = () =>
      startReplica((incoming, outgoing) => {
        asked.push(incoming);
        answer(incoming, outgoing);
      });
    replicas = [await replica(), await replica()];
    const text = readFileSync(CONFIGURATION, 'utf8')
      .replace('server-1:3000 resolve', `127.0.0.1:${portOf(replicas[0])}`)
      .replace('server-2:3000 resolve', `127.0.0.1:${portOf(replicas[1])}`);
    nginx = await startNginx(home, text);
    ({ url } = nginx);
  });

  beforeEach(() => {
    asked.length = 0;
    answer = (_incoming, outgoing) => outgoing.end('{}');
  });

  afterAll(async () => {
    await nginx?.stop();
    for (const server of replicas ?? []) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(home, { recursive: true, force: true });
  });

  it('forwards requests with the headers that the service needs, and keeps connections', async () => {
    for (let count = 0; count < 6; count += 1) {
      await (
        await fetch(`${url}/api/v1/audit/events?a=%2C`, { headers: { 'x-request-id': 'r1' } })
      ).text();
    }
    expect(asked).toHaveLength(6);
    const { headers, url: path } = asked[0];
    expect(path).toBe('/api/v1/audit/events?a=%2C');
    expect(headers).toMatchObject({
      host: new URL(url).host,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-request-id': 'r1',
    });
    expect(headers.connection).not.toBe('close');
    expect(new Set(asked.map(({ socket }) => socket.remotePort)).size).toBeLessThan(6);
  });

  it.each([
    '/api/v1/audit/events/stream',
    '/api/v1/audit/events/tail',
    '/trpc/x',
    '/api/v1/audit/events/bulk',
  ])('lets %s through piece by piece', async (path) => {
    let proceed = (): void => undefined;
    answer = (_incoming, outgoing) => {
      outgoing.write('first');
      proceed = () => outgoing.end('second');
    };
    const { body } = await fetch(`${url}${path}`);
    const reader = body?.getReader();
    const first = await reader?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe('first');
    proceed();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('second');
  });

  it('streams a body as it comes', async () => {
    const got: string[] = [];
    answer = (incoming, outgoing) => {
      incoming.on('data', (chunk: Buffer) => got.push(chunk.toString()));
      incoming.on('end', () => outgoing.end('done'));
    };
    const outgoing = request(`${url}/api/v1/audit/events/bulk`, { method: 'POST' });
    outgoing.write('line 1\n');
    await until(() => got.join('').includes('line 1'));
    outgoing.end('line 2\n');
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    incoming.resume();
    expect(incoming.statusCode).toBe(200);
  });

  it('upgrades to WebSocket', async () => {
    const outgoing = request(`${url}/graphql`, {
      headers: { connection: 'Upgrade', upgrade: 'websocket' },
    });
    outgoing.end();
    const [incoming, socket] = (await once(outgoing, 'upgrade')) as [
      IncomingMessage,
      NodeJS.Socket,
    ];
    expect(incoming.statusCode).toBe(101);
    socket.end();
  });

  it('keeps metrics to itself, and query strings out of its log', async () => {
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
    expect(asked).toEqual([]);
    await fetch(`${url}/api/v1/audit/events?principal_ids=somebody`);
    await until(() =>
      readFileSync(join(home, 'access.log'), 'utf8').includes('GET /api/v1/audit/events'),
    );
    expect(readFileSync(join(home, 'access.log'), 'utf8')).not.toContain('somebody');
  });

  it('keeps hashed assets, whatever query they are asked with, and nothing else', async () => {
    const year = 'public, max-age=31536000, immutable';
    answer = (_incoming, outgoing) => outgoing.setHeader('Cache-Control', year).end('let x;');
    const statuses: (string | null)[] = [];
    for (const path of ['/assets/a.1.js', '/assets/a.1.js', '/assets/a.1.js?b=c', '/docs', '/docs'])
      statuses.push((await fetch(`${url}${path}`)).headers.get('x-cache-status'));
    expect(statuses).toEqual(['MISS', 'HIT', 'HIT', null, null]);
    expect(asked.map(({ url: path }) => path)).toEqual(['/assets/a.1.js', '/docs', '/docs']);
    answer = (_incoming, outgoing) => {
      outgoing.statusCode = 404;
      outgoing.setHeader('Cache-Control', 'no-store').end();
    };
    for (const status of ['MISS', 'MISS']) {
      const { headers } = await fetch(`${url}/assets/a.2.js`);
      expect(headers.get('x-cache-status') ?? status).toBe(status);
    }
    expect(asked).toHaveLength(5);
  });

  it('asks the other replica when one is gone', async () => {
    const [gone, left] = replicas as [Server, Server];
    gone.closeAllConnections();
    gone.close();
    for (let count = 0; count < 6; count += 1) {
      expect((await fetch(`${url}/api/v1/audit/events`)).status).toBe(200);
    }
    expect(asked.every(({ socket }) => socket.localPort === portOf(left))).toBe(true);
  });
});

/** A name server with an address for each name, and none for others. */
async function startNameServer(addresses: Map<string, string>): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at]; length; length = query[at]) {
      labels.push(query.subarray(at + 1, at + 1 + length).toString());
      at += 1 + length;
    }
    const question = query.subarray(12, at + 5);
    const found = addresses.get(labels.join('.'));
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(found ? 0x8180 : 0x8183, 2);
    header.writeUInt16BE(found ? 1 : 0, 6);
    header.writeUInt32BE(0, 8);
    // A pointer to the name of the question, type A, class IN, ten minutes (as Docker says), four bytes.
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
    const bytes = found ? [answer, Buffer.from(found.split('.').map(Number))] : [];
    socket.send(Buffer.concat([header, question, ...bytes]), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

(hasNginx() && canResolveAgain() ? describe : describe.skip)('replicas made anew', () => {
  it('are found at their other addresses, though the name server gives ten minutes', async () => {
    const home = mkdtempSync(join(tmpdir(), 'audit-nginx-'));
    const asked: string[] = [];
    const replica = (host: string, port?: number) =>
      startReplica(
        (incoming, outgoing) => {
          asked.push(incoming.socket.localAddress ?? '');
          outgoing.end('{}');
        },
        host,
        port,
      );
    const first = await replica('127.0.0.2');
    const port = portOf(first);
    const replicas = [first, await replica('127.0.0.3', port)];
    const addresses = new Map([
      ['server-1', '127.0.0.2'],
      ['server-2', '127.0.0.3'],
    ]);
    const names = await startNameServer(addresses);
    const text = readFileSync(CONFIGURATION, 'utf8')
      .replace('127.0.0.11', `127.0.0.1:${names.address().port}`)
      .replaceAll(':3000 resolve', `:${port} resolve`);
    const nginx = await startNginx(home, text);
    const succeeds = async () => (await fetch(`${nginx.url}/api/v1/audit/events`)).ok;
    try {
      await until(succeeds);
      for (const server of replicas.splice(0)) {
        server.closeAllConnections();
        server.close();
      }
      replicas.push(await replica('127.0.0.4', port), await replica('127.0.0.5', port));
      addresses.set('server-1', '127.0.0.4').set('server-2', '127.0.0.5');
      await until(succeeds);
      await until(async () => {
        await succeeds();
        return asked.includes('127.0.0.4') && asked.includes('127.0.0.5');
      });
    } finally {
      await nginx.stop();
      names.close();
      for (const server of replicas) {
        server.closeAllConnections();
        server.close();
      }
      rmSync(home, { recursive: true, force: true });
    }
  });
});
