import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import WebSocket from 'ws';
import { GraphqlSocket } from '../../src/api/graphql/graphql-socket';
import { until } from '../integration/until.fixture';
import { initText, newOrganization, SocketStage, SUBPROTOCOL } from '../support/socket-stage';
import { EVENTS, eventWith, tokenOf } from '../support/test-service';

const EVENT_BYTES = 200_000;
const KEEP_ALIVE_MS = 1000;
const ask = (limit: number): string => {
  const query = `{ optimizedAuditEvents(pagination: { limit: ${limit} }, useCache: false) { edges { node { metadata } } } }`;
  return JSON.stringify({ id: '1', type: 'subscribe', payload: { query } });
};

let stage: SocketStage;
let token: string;
const sockets: Socket[] = [];

beforeAll(async () => {
  stage = await SocketStage.start();
  const organizationId = newOrganization();
  token = await tokenOf({ organizations: [organizationId] });
  const metadata = { text: 'x'.repeat(EVENT_BYTES) };
  const events = Array.from({ length: 30 }, () => eventWith({ organizationId, metadata }));
  for (let time = 0; time < 3; time += 1) {
    expect((await stage.service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  }
  stage.service.provider(GraphqlSocket).keepAliveMs = KEEP_ALIVE_MS;
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await stage.clear();
  await stage.service.stop();
});

/** A way to the service whose clients get so much, by the clock. */
async function openSlowWay(bytesPerMs: number): Promise<Server> {
  const server = createServer((client) => {
    const options = { port: stage.service.port, host: '127.0.0.1', highWaterMark: 1024 * 1024 };
    const service = connect(options).pause();
    client.pipe(service);
    let lastMs = performance.now();
    const handing = setInterval(() => {
      const nowMs = performance.now();
      const due = Math.floor((nowMs - lastMs) * bytesPerMs);
      lastMs = nowMs;
      const part = service.read(Math.min(service.readableLength, due)) as Buffer | null;
      if (part) client.write(part);
    }, 15);
    service.on('close', () => client.destroy());
    for (const socket of [client, service]) {
      sockets.push(socket);
      socket.on('error', () => undefined).on('close', () => clearInterval(handing));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

it.each([
  ['reads a message slowly of which most waits here', 90, 3000],
  ['reads a message slowly that has all been taken', 6, 400],
])(
  'a WebSocket that %s is not cut; one that does not read is',
  async (_, limit, bytesPerMs) => {
    const ends: Socket[] = [];
    stage.service.httpServer.server.on('connection', (socket: Socket) => ends.push(socket));
    const way = await openSlowWay(bytesPerMs);
    const { port } = way.address() as AddressInfo;
    const slow = new WebSocket(`ws://127.0.0.1:${port}/graphql`, [SUBPROTOCOL]);
    await once(slow, 'open');
    slow.send(initText(token));
    await once(slow, 'message');
    const silent = await stage.connected(token);
    silent.pause();
    for (const socket of [slow, silent]) socket.send(ask(limit));
    const askedMs = performance.now();
    const [message] = (await once(slow, 'message')) as [Buffer];
    expect(message.length).toBeGreaterThan(limit * EVENT_BYTES);
    expect(performance.now() - askedMs).toBeGreaterThan(2 * KEEP_ALIVE_MS); // slow enough to mean something
    slow.ping();
    await once(slow, 'pong'); // it goes on, when all that was sent has been read
    await until(() => ends.at(-1)?.destroyed === true);
    slow.terminate();
    way.close();
  },
  60_000,
);
