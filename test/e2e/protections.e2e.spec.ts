import { once } from 'node:events';
import { connect } from 'node:net';
import { HttpServer } from '../../src/http/http-server';
import { expectProblem } from '../support/problem';
import { answersIn, sendRaw } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

describe('a request that is too large', () => {
  let service: TestService;
  let token: string;

  beforeAll(async () => {
    service = await TestService.start({ REQUEST_MAX_SIZE_MB: '1' });
    token = await tokenOf();
  });

  afterAll(async () => {
    await service.stop();
    delete process.env.REQUEST_MAX_SIZE_MB;
  });

  it('is refused when its body comes in chunks', async () => {
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const [answer] = await sendRaw(
      service.port,
      `POST ${EVENTS}/bulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
      ...Array.from({ length: 20 }, () => chunk),
      '0\r\n\r\n',
    );
    if (!answer) throw new Error('No answer');
    expectProblem(answer, 413, 'REQUEST_TOO_LARGE');
    expect(answer.text).toContain('MB (REQUEST_MAX_SIZE_MB)');
  });

  it.each([
    ['by the fast path', 'GET', EVENTS],
    ['by the ordinary path', 'GET', '/api/v1/nowhere'],
  ])('is refused for its target: %s', async (_, method, path) => {
    const fits = await service.request(method, `${path}?correlation_ids=${'x,'.repeat(10)}`, {
      token,
    });
    expect(fits.status).not.toBe(414);
    const answer = await service.request(method, `${path}?actions=${'x'.repeat(12_300)}`, {
      token,
    });
    expectProblem(answer, 414, 'URI_TOO_LONG');
  });

  it('is refused for the number of its headers', async () => {
    const headers = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, '1']));
    expect((await service.get(EVENTS, token, headers(150))).status).toBe(200);
    expectProblem(await service.get(EVENTS, token, headers(250)), 431, 'HEADERS_TOO_LARGE');
  });

  it('is refused for the size of its headers', async () => {
    const answer = await service.get(EVENTS, token, { 'x-large': 'x'.repeat(17_000) });
    expectProblem(answer, 431, 'HEADERS_TOO_LARGE');
    expect((await service.post(EVENTS, token, eventWith())).status).toBe(201);
  });
});

describe('a client that is too slow', () => {
  const httpServer = new HttpServer({
    headersTimeoutMs: 300,
    requestTimeoutMs: 600,
    checkIntervalMs: 50,
  });
  let port: number;

  beforeAll(async () => {
    ({ port } = await httpServer.listen(0, '127.0.0.1'));
    httpServer.attach(
      (request, response) => request.resume().on('end', () => response.end('done')),
      {
        find: () => undefined,
      },
    );
  });

  afterAll(() => httpServer.drain(0));

  it.each([
    ['its headers', 'GET / HTTP/1.1\r\nHost: x\r\n', 'X-Slow: 1\r\n'],
    ['its body', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n', 'x'],
  ])('with %s is told so and cut, however steadily it sends', async (_, start, drip) => {
    const socket = connect(port, '127.0.0.1');
    const received: Buffer[] = [];
    socket.on('data', (bytes) => received.push(bytes));
    socket.on('error', () => undefined);
    socket.write(start);
    const dripping = setInterval(() => socket.write(drip), 40);
    await once(socket, 'close');
    clearInterval(dripping);
    const [answer] = answersIn(Buffer.concat(received));
    if (!answer) throw new Error('No answer');
    expectProblem(answer, 408, 'CLIENT_TIMEOUT');
  });
});
