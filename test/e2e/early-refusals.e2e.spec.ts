import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { answersIn } from '../support/raw-http';
import { listen, type RawConnection, RawConnections } from '../support/raw-connection';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const TOO_LARGE = 2 * 1024 * 1024;
const CREATE = '/trpc/performance.bulkCreateAuditEvents';

let service: TestService;
let token: string;
let talks: RawConnections;
const begin = (path: string, ...headers: string[]) => talks.begin(path, ...headers);

beforeAll(async () => {
  service = await TestService.start({ REQUEST_MAX_SIZE_MB: '1' });
  token = await tokenOf();
  talks = new RawConnections(service, token);
  await service.post(EVENTS, token, eventWith()); // the fast route knows the token from now on
});

afterEach(() => talks.clear());

afterAll(async () => {
  await service.stop();
  delete process.env.REQUEST_MAX_SIZE_MB;
});

/** The answer, once it is whole and the other side has ended. */
async function answerIn(talk: RawConnection): Promise<Answer> {
  await once(talk.socket, 'end');
  const [answer] = answersIn(Buffer.from(talk.read, 'latin1'));
  if (!answer) throw new Error('No answer');
  return answer;
}

const codeIn = ({ json }: Answer): unknown =>
  json.code ?? json.errors?.[0].extensions.code ?? json.error?.data.code;

describe('a body that is announced to be too large', () => {
  it.each([
    ['POST', `${EVENTS}/bulk`, 'REQUEST_TOO_LARGE'],
    ['a fast route', EVENTS, 'REQUEST_TOO_LARGE'],
    ['GraphQL', '/graphql', 'REQUEST_TOO_LARGE'],
    ['tRPC', CREATE, 'PAYLOAD_TOO_LARGE'],
  ])('is refused before any of it has come: %s', async (_, path, code) => {
    const talk = await begin(path, `Content-Length: ${TOO_LARGE}`);
    listen(talk);
    const answer = await answerIn(talk);
    expect([answer.status, codeIn(answer)]).toEqual([413, code]);
    expect(answer.headers.get('connection')).toBe('close');
    talk.socket.end();
    await once(talk.socket, 'close');
    expect(talk.error).toBeUndefined();
  });

  it('is refused before it is compressed, too', async () => {
    const talk = await begin(EVENTS, `Content-Length: ${TOO_LARGE}`, 'Content-Encoding: gzip');
    listen(talk);
    expectProblem(await answerIn(talk), 413, 'REQUEST_TOO_LARGE');
  });

  it('is read away, for a client that sends all of it before it reads', async () => {
    const bytes = 48 * TOO_LARGE; // more than both kernels hold
    const talk = await begin(`${EVENTS}/bulk`, `Content-Length: ${bytes}`);
    for (let sent = 0; sent < bytes; sent += TOO_LARGE) {
      await new Promise((resolve) => talk.socket.write(Buffer.alloc(TOO_LARGE, ' '), resolve));
    }
    await sleep(100); // a reset would be here by now
    listen(talk);
    expectProblem(await answerIn(talk), 413, 'REQUEST_TOO_LARGE');
    expect(talk.error).toBeUndefined();
  });

  it('is no request once the response is given, whatever it contains', async () => {
    const stored = async () =>
      (await service.get(`${EVENTS}?actions=hidden&include_total=true`, token)).json.pagination
        .total;
    const talk = await begin(EVENTS, `Content-Length: ${TOO_LARGE}`);
    listen(talk);
    await answerIn(talk);
    const body = JSON.stringify(eventWith({ action: 'hidden' }));
    talk.socket.write(Buffer.alloc(TOO_LARGE, ' '));
    talk.socket.end(
      `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await once(talk.socket, 'close');
    expect(await stored()).toBe(0);
  });

  it('is followed by no other: the first one cuts the connection', async () => {
    const talk = await begin(EVENTS, `Content-Length: ${TOO_LARGE}`);
    listen(talk);
    await answerIn(talk);
    const end = talks.ends.at(-1);
    const isCut: boolean[] = [];
    const look = ({ socket }: IncomingMessage): void => {
      if (socket === end) isCut.push(socket.destroyed); // the service has just seen the request, too
    };
    service.httpServer.server.on('request', look);
    talk.socket.write(Buffer.alloc(TOO_LARGE, ' '));
    talk.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => end?.destroyed === true);
    service.httpServer.server.off('request', look);
    expect(isCut).toEqual([true]);
    expect(service.httpServer.runningRequests).toBe(0);
  });

  it('is cut when it stands still', async () => {
    const talk = await begin(EVENTS, `Content-Length: ${TOO_LARGE}`);
    listen(talk);
    await answerIn(talk);
    const end = talks.ends.at(-1);
    expect(end?.writableEnded).toBe(true);
    await until(() => end?.destroyed === true);
  });

  it('is refused as soon as it is too large when it comes in chunks', async () => {
    const talk = await begin(`${EVENTS}/bulk`, 'Transfer-Encoding: chunked');
    listen(talk);
    talk.socket.write(`${TOO_LARGE.toString(16)}\r\n${' '.repeat(TOO_LARGE)}\r\n`); // and no end
    const answer = await answerIn(talk);
    expectProblem(answer, 413, 'REQUEST_TOO_LARGE');
    expect(answer.headers.get('connection')).toBe('close');
  });
});

describe('a client that asks before it sends (Expect: 100-continue)', () => {
  const ask = async (path: string, ...headers: string[]) => {
    const talk = await begin(path, 'Expect: 100-continue', ...headers);
    listen(talk);
    return talk;
  };
  const CONTINUE = /^HTTP\/1\.1 100 Continue\r\n\r\n$/;

  it.each([
    ['too large', EVENTS, 413, 'REQUEST_TOO_LARGE', [`Content-Length: ${TOO_LARGE}`]],
    ['no JSON', EVENTS, 415, 'UNSUPPORTED_MEDIA_TYPE', ['Content-Type: a/b', 'Content-Length: 2']],
    ['for no route', '/api/v1/none', 404, 'NOT_FOUND', ['Content-Length: 2']],
    [
      'for no route, in lines',
      '/api/v1/none',
      404,
      'NOT_FOUND',
      ['Content-Length: 2', 'trpc-accept: application/jsonl'],
    ],
  ])('is refused at once when the body is %s', async (_, path, status, code, headers) => {
    const talk = await ask(path, ...headers);
    const answer = await answerIn(talk);
    expect(talk.read).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expectProblem(answer, status, code);
    expect(answer.headers.get('connection')).toBe('close');
    talk.socket.end('{}'); // the body, of a client that did not wait
    await once(talk.socket, 'close');
    expect(talk.error).toBeUndefined();
  });

  it.each([
    ['a fast route', EVENTS, eventWith(), 201],
    ['POST', `${EVENTS}/bulk`, { events: [eventWith()] }, 201],
    ['GraphQL', '/graphql', { query: '{ __typename }' }, 200],
    ['tRPC', CREATE, { events: [eventWith()] }, 200],
  ])('is told to when the body is wanted: %s', async (_, path, value, status) => {
    const body = JSON.stringify(value);
    const talk = await ask(path, `Content-Length: ${body.length}`, 'Connection: close');
    await until(() => CONTINUE.test(talk.read));
    talk.socket.write(body);
    expect(await answerIn(talk)).toMatchObject({ status });
  });

  it('gets 100 Continue where the response begins before the body is read: tRPC in lines', async () => {
    const body = JSON.stringify({ 0: { events: [eventWith()] } });
    const talk = await ask(
      `${CREATE}?batch=1`,
      'trpc-accept: application/jsonl',
      `Content-Length: ${body.length}`,
      'Connection: close',
    );
    await until(() => talk.read.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
    talk.socket.write(body);
    await once(talk.socket, 'end');
    expect(talk.read).toContain('"created":1');
  });

  it('gets 100 Continue for NDJSON of any length', async () => {
    const line = JSON.stringify(eventWith({ outcomeDescription: 'x'.repeat(9000) }));
    const body = `${line}\n`.repeat(300);
    expect(body.length).toBeGreaterThan(TOO_LARGE);
    const talk = await ask(
      `${EVENTS}/bulk`,
      `Content-Length: ${body.length}`,
      'Content-Type: application/x-ndjson',
      'Connection: close',
    );
    await until(() => CONTINUE.test(talk.read));
    talk.socket.write(body);
    await once(talk.socket, 'end');
    expect(talk.read).toContain('"created":300');
  });
});

describe('a body with a transfer coding but chunked', () => {
  it.each([
    ['gzip, chunked', EVENTS],
    ['chunked, chunked', EVENTS],
    ['gzip, chunked', `${EVENTS}/bulk`],
    ['deflate,chunked', '/graphql'],
    ['gzip\r\nTransfer-Encoding: chunked', CREATE],
  ])('(%s) is refused and its connection closed: %s', async (coding, path) => {
    const talk = await begin(path, `Transfer-Encoding: ${coding}`);
    listen(talk);
    const answer = await answerIn(talk);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.headers.get('connection')).toBe('close');
  });

  it('is read when it is Chunked', async () => {
    const body = JSON.stringify(eventWith());
    const talk = await begin(EVENTS, 'Transfer-Encoding: Chunked', 'Connection: close');
    listen(talk);
    talk.socket.write(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
    expect((await answerIn(talk)).status).toBe(201);
  });
});
