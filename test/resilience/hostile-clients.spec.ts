import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Client } from 'pg';
import WebSocket from 'ws';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { answersIn } from '../support/raw-http';
import { EVENTS, eventWith } from '../support/test-service';
import { Sender } from './replica-set.fixture';
import { ServiceStage } from './service-stage.fixture';
import { SteadyLoad } from './steady-load.fixture';
import { allowEventChanges } from '../support/event-changes';

const SLOW_CLIENTS = 300;
const IDLE_CONNECTIONS = 5000;
/** Connections that are opened at the same time. */
const CONNECTING = 250;
const EXPORTS = 30;
const EXPORTED_EVENTS = 30_000;
const PIPELINED = 60;
const WEB_SOCKETS = 300;

/** Others work on the whole time, and must notice nothing. */
describe('a service under load whose other clients', () => {
  const sender = new Sender();
  const sockets = new Set<Socket>();
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let load: SteadyLoad;
  let token: string;
  let port: number;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    service = await stage.start();
    port = Number(new URL(service.url).port);
    token = await tokenFor();
    const options = { writers: 4, readers: 2, mayRefuse: false };
    load = await SteadyLoad.begin(service.url, 'others', options);
  }, 120_000);

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  });

  afterAll(async () => {
    sender.close();
    await stage?.close();
  });

  async function open(): Promise<Socket> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.add(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  const head = (method: string, path: string, ...headers: string[]) =>
    [`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...headers].join(
      '\r\n',
    ) + '\r\n\r\n';

  const post = (body: string, length = Buffer.byteLength(body)) =>
    head('POST', EVENTS, 'Content-Type: application/json', `Content-Length: ${length}`) + body;

  const eventText = (action: string) =>
    JSON.stringify(eventWith({ organizationId: 'org-hostile', action }));

  /** Reads from a socket until the other side ends it. */
  async function readAll(socket: Socket): Promise<Buffer> {
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part));
    await Promise.race([once(socket, 'end'), once(socket, 'close')]);
    return Buffer.concat(parts);
  }

  async function countOf(action: string): Promise<number> {
    const { rows } = await admin.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM audit_event WHERE action = $1',
      [action],
    );
    return rows[0]?.count ?? -1;
  }

  it('send headers and bodies that never end delay no other client', async () => {
    const slow = await Promise.all(Array.from({ length: SLOW_CLIENTS }, open));
    slow.forEach((socket, index) =>
      socket.write(index % 2 === 0 ? `GET / HTTP/1.1\r\nHost: x\r\nX-A: ` : post('{', 1000)),
    );
    for (let round = 0; round < 5; round += 1) {
      for (const socket of slow) socket.write('a');
      await load.progress(20);
    }
    expect(load.ready).toBe(200);
  }, 60_000);

  it('close their half of the connection have hung up: it ends, and their events are stored all or not at all', async () => {
    const halves = await Promise.all(Array.from({ length: 20 }, open));
    const answers = await Promise.all(
      halves.map((socket) => {
        socket.end(post(eventText('half-closed')));
        return readAll(socket); // and never closed from here
      }),
    );
    const acknowledged = answers.flatMap(answersIn).filter(({ status }) => status === 201);
    await load.progress(20);
    const stored = await countOf('half-closed');
    expect(stored).toBeGreaterThanOrEqual(acknowledged.length);
    expect(stored).toBeLessThanOrEqual(halves.length);
  });

  it(`send ${PIPELINED} requests at once on one connection are answered in their order`, async () => {
    const socket = await open();
    const requests = Array.from({ length: PIPELINED }, (_, index) =>
      index % 3 === 0
        ? head('GET', `${EVENTS}?organization_ids=org-hostile&limit=1`)
        : post(eventText(`pipelined ${index}`)),
    );
    socket.write(requests.join('') + head('GET', '/health/live', 'Connection: close'));
    const answers = answersIn(await readAll(socket)).slice(0, PIPELINED);
    expect(answers.map(({ status }) => status)).toEqual(
      requests.map((_, index) => (index % 3 === 0 ? 200 : 201)),
    );
    answers.forEach(({ json }, index) => {
      if (index % 3 !== 0) expect(json.action).toBe(`pipelined ${index}`);
    });
  }, 30_000);

  it('announce more than they send have nothing stored', async () => {
    for (let time = 0; time < 20; time += 1) {
      const socket = await open();
      const body = eventText('too short');
      socket.write(post(body, body.length + 1));
      if (time % 2 === 0) socket.end();
      else socket.destroy();
    }
    await load.progress(20);
    expect(await countOf('too short')).toBe(0);
  }, 30_000);

  it('send more than they announce have stored what they announced, and the rest is rejected as no request', async () => {
    const socket = await open();
    const body = eventText('too long');
    socket.write(post(`${body}}}}`, body.length));
    const answers = answersIn(await readAll(socket));
    expect(answers[0]?.status).toBe(201);
    expect(answers.slice(1).map(({ status }) => status)).not.toContain(201);
    expect(await countOf('too long')).toBe(1);
  });

  it(`hold ${IDLE_CONNECTIONS} idle connections leave nothing behind when they go`, async () => {
    const handles = async () => (await readdir(`/proc/${service.pid}/fd`)).length;
    const before = process.platform === 'linux' ? await handles() : 0;
    for (let opened = 0; opened < IDLE_CONNECTIONS; opened += CONNECTING) {
      await Promise.all(Array.from({ length: CONNECTING }, open));
    }
    await load.progress(50);
    expect(load.ready).toBe(200);
    for (const socket of sockets) socket.destroy();
    if (process.platform === 'linux') await until(async () => (await handles()) < before + 50);
    await load.progress(20);
  }, 60_000);

  it(`begin ${EXPORTS} exports and abandon them occupy no permit of other exports`, async () => {
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT 'org-large', now(), gen_random_uuid(), n, now(), repeat('x', 200), 'success', 'INTERNAL'
       FROM generate_series(1, ${EXPORTED_EVENTS}) n`,
    );
    await admin.query(`INSERT INTO audit_organization VALUES ('org-large', ${EXPORTED_EVENTS})`);
    const path = `${EVENTS}/stream?format=ndjson&organization_ids=org-large`;
    const exporter = await tokenFor({ scopes: ['audit:read', 'audit:export'] });
    const headers = { authorization: `Bearer ${exporter}`, 'accept-encoding': 'identity' };
    await Promise.all(
      Array.from({ length: EXPORTS }, async () => {
        const left = get(`${service.url}${path}`, { headers, agent: false });
        left.on('error', () => undefined);
        const [response] = (await once(left, 'response')) as [NodeJS.ReadableStream];
        await Promise.race([once(response, 'data'), once(response, 'end')]);
        left.destroy();
      }),
    );
    await load.progress(20);
    await until(async () => {
      const reply = await sender.send('GET', `${service.url}${path}`, { token: exporter });
      if (reply.status === 503) return false;
      expect(reply.text.trimEnd().split('\n')).toHaveLength(EXPORTED_EVENTS);
      return true;
    });
    await until(async () => {
      const { rowCount } = await admin.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND state = 'active'`,
      );
      return rowCount === 0;
    });
  }, 60_000);

  it(`open ${WEB_SOCKETS} WebSockets and flood them before authentication are disconnected`, async () => {
    const url = `${service.url.replace(/^http/, 'ws')}/graphql`;
    const flooding = Array.from({ length: WEB_SOCKETS }, (_, index) => {
      const webSocket = new WebSocket(url, ['graphql-transport-ws']);
      webSocket.on('error', () => undefined);
      webSocket.on('open', () => {
        if (index % 3 === 0) return; // says nothing
        if (index % 3 === 1) return webSocket.send('x'.repeat(2 * 1024 * 1024));
        for (let sent = 0; sent < 1000; sent += 1) webSocket.send('{"type":"ping"}');
      });
      return webSocket;
    });
    const closing = Promise.all(flooding.map((webSocket) => once(webSocket, 'close')));
    await load.progress(50);
    expect(load.ready).toBe(200);
    const codes = (await closing).map(([code]) => code as number);
    expect(codes.filter((_, index) => index % 3 === 0)).toEqual(
      Array.from({ length: WEB_SOCKETS / 3 }, () => 4408),
    );
    await load.progress(20);
  }, 60_000);

  it('and all that, lost no acknowledged write of others', async () => {
    await load.progress(20);
    await load.end();
    await allowEventChanges(admin);
    await admin.query(`DELETE FROM audit_event WHERE organization_id = 'org-large'`);
    await load.ledger.check(admin);
    expect(load.readsRefused).toBe(0);
    expect(service.unhandled()).toEqual([]);
  });
});
