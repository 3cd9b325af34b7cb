import { Logger } from '@nestjs/common';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectLongBody } from './connection-state';
import { HttpServer } from './http-server';

describe('HttpServer', () => {
  const httpServer = new HttpServer();
  let port = 0;

  beforeAll(async () => {
    ({ port } = await httpServer.listen(0, '127.0.0.1'));
    httpServer.attach(
      (request, response) => {
        response.end(`url=${request.url ?? ''}`);
      },
      {
        find: ({ url }) => {
          if (url === '/fast') return (_, response) => void response.end('fast');
          if (url !== '/broken') return undefined;
          return () => {
            throw new Error('a fault of ours');
          };
        },
      },
    );
  });

  afterAll(() => httpServer.drain(0));

  /** The first response to a request with this target, as text. */
  function responseTo(target: string, hosts = 'Host: x\r\n'): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`GET ${target} HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`);
      });
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
  }

  it.each([
    ['/a?b=c', '/a?b=c'],
    ['http://proxy.example:8080/a?b=http://c/', '/a?b=http://c/'],
    ['http://a:99999999/a', '/a'],
    ['http://example.com', '/'],
  ])('hands %s on as %s', async (target, path) => {
    expect(await responseTo(target)).toMatch(new RegExp(`url=${path.replaceAll('?', '\\?')}$`));
  });

  it('listens on all addresses of both families without a host', async () => {
    const everywhere = new HttpServer();
    const { port: own, address } = await everywhere.listen(0);
    const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
      all?.some(({ family }) => family === 'IPv6'),
    );
    expect(address).toBe(hasIpv6 ? '::' : '0.0.0.0');
    for (const host of ['127.0.0.1', ...(hasIpv6 ? ['::1'] : [])]) {
      const socket = connect(own, host);
      await once(socket, 'connect');
      socket.destroy();
    }
    await everywhere.drain(0);
  });

  it('survives a fast route that throws', async () => {
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const response = await responseTo('/broken');
    expect(response).toMatch(/^HTTP\/1\.1 500 /);
    expect(response).toContain('"code":"INTERNAL"');
    expect(response).not.toContain('a fault of ours');
    expect(await responseTo('/next')).toContain('url=/next');
    jest.restoreAllMocks();
  });

  it.each(['http:///a', 'ftp://a/b', 'a/b'])('refuses the target %s', async (target) => {
    const response = await responseTo(target);
    expect(response).toMatch(/^HTTP\/1\.1 400 /);
    expect(response).toContain('application/problem+json');
  });

  it.each([
    ['no host', ''],
    ['two hosts', 'Host: x\r\nHost: y\r\n'],
  ])('refuses a request with %s, to a fast route and any other', async (_, hosts) => {
    for (const target of ['/fast', '/any']) {
      expect(await responseTo(target, hosts)).toMatch(/^HTTP\/1\.1 400 [^]*"VALIDATION_FAILED"/);
    }
  });
});

describe('a connection', () => {
  const httpServer = new HttpServer({
    requestTimeoutMs: 300,
    headersTimeoutMs: 300,
    checkIntervalMs: 50,
  });
  let port = 0;
  const closed: string[] = [];

  beforeAll(async () => {
    ({ port } = await httpServer.listen(0, '127.0.0.1'));
    httpServer.attach(
      (request, response) => {
        const { url = '' } = request;
        response.on('close', () => closed.push(url));
        if (url.startsWith('/long')) expectLongBody(request);
        if (url.startsWith('/never')) return;
        if (url === '/later') setTimeout(() => response.end('later'), 50);
        else if (url === '/long-read') request.on('end', () => response.end('read')).resume();
        else response.end('answered');
      },
      { find: () => undefined },
    );
  });

  afterAll(() => httpServer.drain(0));

  async function talk(...parts: string[]): Promise<{ socket: Socket; text: () => string }> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (part) => (text += part.toString()));
    for (const part of parts) socket.write(part);
    await once(socket, 'connect');
    return { socket, text: () => text };
  }

  const head = (method: string, url: string, ...more: string[]) =>
    [`${method} ${url} HTTP/1.1`, 'Host: x', ...more].join('\r\n') + '\r\n\r\n';

  it('has no time limit for a long body, but for the bytes after its response', async () => {
    const { socket, text } = await talk(head('POST', '/long-read', 'Transfer-Encoding: chunked'));
    for (let part = 0; part < 10; part += 1) {
      socket.write('1\r\na\r\n');
      await sleep(80); // 800 ms together
    }
    socket.write('0\r\n\r\n');
    while (!text().includes('read')) await sleep(5);
    expect(text()).toContain('HTTP/1.1 200');
    socket.write('GET /next HTTP/1.1\r\nX-Slow: '); // and never an end
    await once(socket, 'close');
    expect(text()).toContain('HTTP/1.1 408');
  });

  it('is closed when such a body continues without an end after its response', async () => {
    const { socket, text } = await talk(head('POST', '/long', 'Transfer-Encoding: chunked'));
    const sending = setInterval(() => socket.write('1\r\na\r\n'), 50);
    await once(socket, 'close');
    clearInterval(sending);
    expect(text()).toContain('answered');
  });

  it.each([
    ['has no response yet', head('POST', '/later', 'Transfer-Encoding: chunked'), '0\r\n\r\n'],
    ['is refused for its expectation', head('GET', '/first', 'Expect: more'), ''],
  ])('becomes no WebSocket behind a request that %s', async (_, first, rest) => {
    const upgraded = jest.fn((_: unknown, socket: Socket) => socket.destroy());
    httpServer.server.on('upgrade', upgraded);
    const upgrade = head('GET', '/second', 'Connection: Upgrade', 'Upgrade: websocket');
    const { socket, text } = await talk(first + rest + upgrade);
    while (text().split('HTTP/1.1 ').length < 3) await sleep(5);
    expect(upgraded).not.toHaveBeenCalled();
    socket.destroy();
    await once(socket, 'close');
    const alone = await talk(upgrade);
    await once(alone.socket, 'close');
    expect(upgraded).toHaveBeenCalledTimes(1);
    httpServer.server.off('upgrade', upgraded);
  });

  it('closes its queued responses when it ends', async () => {
    const { socket } = await talk(head('GET', '/never-1') + head('GET', '/never-2'));
    while (httpServer.runningRequests < 2) await sleep(5);
    socket.destroy();
    while (httpServer.runningRequests > 0) await sleep(5);
    expect(closed.slice(-2).sort()).toEqual(['/never-1', '/never-2']);
  });
});

describe('a drain', () => {
  it('lets clients read their responses', async () => {
    const httpServer = new HttpServer();
    const { port } = await httpServer.listen(0, '127.0.0.1');
    const bytes = 32 * 1024 * 1024;
    httpServer.attach((_, response) => response.end(Buffer.alloc(bytes)), {
      find: () => undefined,
    });
    const socket = connect(port, '127.0.0.1');
    const closed = once(socket, 'close');
    let read = 0;
    socket.on('error', () => undefined).on('data', (part: Buffer) => (read += part.length));
    socket.pause().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    while (httpServer.slowClients.bytes === 0) await sleep(5);
    const remaining = httpServer.drain(10_000);
    await sleep(200); // several looks at what is idle
    socket.resume();
    await closed;
    expect(read).toBeGreaterThan(bytes);
    expect(await remaining).toBe(0);
  });

  it('reports the requests that it cuts before it ends', async () => {
    const httpServer = new HttpServer();
    const { port } = await httpServer.listen(0, '127.0.0.1');
    const observed: string[] = [];
    const listener = (_: unknown, response: ServerResponse) =>
      response.write(Buffer.alloc(32_000_000));
    httpServer.attach(listener, { find: () => undefined }, ({ url = '' }) => observed.push(url));
    const sockets = ['/1', '/2', '/3'].map((path) => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      socket.pause().write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      return socket;
    });
    while (httpServer.runningRequests < sockets.length) await sleep(5);
    expect(await httpServer.drain(0)).toBe(sockets.length);
    expect(observed.sort()).toEqual(['/1', '/2', '/3']);
    for (const socket of sockets) socket.destroy();
  });
});
