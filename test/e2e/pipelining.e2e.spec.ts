import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { until } from '../integration/until.fixture';
import { answersIn } from '../support/raw-http';
import { listen, RawConnections } from '../support/raw-connection';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;
let token: string;
let talks: RawConnections;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf();
  talks = new RawConnections(service, token);
});

afterEach(() => talks.clear());

afterAll(() => service.stop());

describe('a pipelined request that waits for earlier responses and for its body', () => {
  it('gets 100 Continue after the responses before it, and not within them', async () => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    await client.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
    const query = JSON.stringify({ query: '{ __typename }' });
    const talk = await talks.connect();
    const { socket } = talk;
    listen(talk);
    const head = (line: string, ...more: string[]) =>
      `${[`${line} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...more].join('\r\n')}\r\n\r\n`;
    const more = ['Content-Type: application/json', `Content-Length: ${query.length}`];
    socket.write(head(`GET ${EVENTS}`, 'Cache-Control: no-cache'));
    socket.write(head('POST /graphql', 'Expect: 100-continue', 'Connection: close', ...more));
    await until(() => service.httpServer.runningRequests === 2);
    socket.write(query); // it does not wait for long, as it may
    await sleep(100);
    expect(talk.read).toBe('');
    const ended = once(socket, 'end');
    await client.query('ROLLBACK');
    await client.end();
    await ended;
    const [page, answer] = answersIn(Buffer.from(talk.read, 'latin1'));
    expect(page?.json).toHaveProperty('data');
    expect(answer?.json).toEqual({ data: { __typename: 'Query' } });
  });

  it('keeps its connection when the body came with it', async () => {
    const body = JSON.stringify({ events: [eventWith()] });
    const talk = await talks.begin(
      `${EVENTS}/bulk`,
      'Expect: 100-continue',
      `Content-Length: ${body.length}`,
      `\r\n${body}`,
    );
    listen(talk);
    await until(() => talk.read.includes('"created":1'));
    expect(talk.read).not.toContain('Connection: close');
  });
});

describe('after the last response of a connection', () => {
  /** A connection whose last response has been read, and the service's end of it. */
  const ended = async (...more: string[]) => {
    const talk = await talks.begin('/api/v1/none', 'Expect: 100-continue', ...more);
    listen(talk);
    await once(talk.socket, 'end');
    return { ...talk, end: talks.ends.at(-1) };
  };
  const UPGRADE =
    'GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

  it.each([
    ['a request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a request that expects something', 'GET / HTTP/1.1\r\nHost: x\r\nExpect: banana\r\n\r\n'],
    ['a WebSocket', UPGRADE],
    ['a request and a WebSocket', `GET / HTTP/1.1\r\nHost: x\r\n\r\n${UPGRADE}`],
  ])('comes nothing any more: %s', async (_, bytes) => {
    const { socket, end } = await ended('Content-Length: 0');
    socket.write(bytes);
    await once(end as Socket, 'close');
    expect((await service.get('/health/live')).status).toBe(200);
    expect(service.httpServer.runningRequests).toBe(0);
  });

  it('line breaks keep neither the connection nor the requests on it open', async () => {
    const asked = `GET ${EVENTS}/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    const { socket, end } = await ended('Content-Length: 0', `\r\n${asked}`);
    await until(() => {
      if (!socket.destroyed) socket.write('\r\n');
      return end?.destroyed === true && service.httpServer.runningRequests === 0;
    });
  });
});
