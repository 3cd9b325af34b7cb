import { Logger, NotFoundException } from '@nestjs/common';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from './app-error';
import { problemOf, toAppError, writeProblem } from './problem';

describe('whatever is thrown', () => {
  it('stays as it is when it is of ours', () => {
    const error = new AppError('FORBIDDEN', 'No.');
    expect(toAppError(error)).toBe(error);
  });

  it.each([
    [{ type: 'entity.too.large', status: 413 }, 'REQUEST_TOO_LARGE'],
    [{ type: 'encoding.unsupported', status: 415 }, 'UNSUPPORTED_MEDIA_TYPE'],
    [{ type: 'request.aborted', status: 400 }, 'VALIDATION_FAILED'],
    [{ status: 404 }, 'NOT_FOUND'],
    [{ statusCode: 405 }, 'METHOD_NOT_ALLOWED'],
    [new NotFoundException('Cannot GET /secret'), 'NOT_FOUND'],
    [new URIError('URI malformed'), 'VALIDATION_FAILED'],
    [{ status: 200 }, 'INTERNAL'],
    [{ status: 502 }, 'INTERNAL'],
    [{ status: '404' }, 'INTERNAL'],
    [new Error('SELECT secret FROM /etc/passwd'), 'INTERNAL'],
    ['a string', 'INTERNAL'],
    [null, 'INTERNAL'],
    [undefined, 'INTERNAL'],
  ])('%p becomes %s, and nothing of it is shown', (thrown, code) => {
    const error = toAppError(thrown);
    expect(error.code).toBe(code);
    expect(error.cause).toBe(thrown);
    const shown = JSON.stringify(problemOf(error, '/x', 'id'));
    expect(shown).not.toMatch(/secret|passwd|malformed"|at .*:\d+/);
  });
});

describe('a problem document', () => {
  it('has the members of RFC 9457 and ours', () => {
    const error = new AppError('VALIDATION_FAILED', 'Bad.', {
      errors: [{ path: 'a', message: 'b' }],
    });
    expect(problemOf(error, '/api/v1/x', 'r-1')).toEqual({
      type: 'urn:audit-server:error:validation-failed',
      title: 'The request is not valid',
      status: 400,
      detail: 'Bad.',
      instance: '/api/v1/x',
      code: 'VALIDATION_FAILED',
      requestId: 'r-1',
      errors: [{ path: 'a', message: 'b' }],
    });
    expect(problemOf(new AppError('INTERNAL', 'Oh.'), '/', '')).not.toHaveProperty('errors');
  });
});

describe('the answer to a failed request', () => {
  let server: Server;
  let listener: RequestListener = () => undefined;
  let url = '';
  const log = { error: '', warn: '', debug: '' };
  let stacks: unknown[] = [];

  beforeAll(async () => {
    for (const level of ['error', 'warn', 'debug'] as const) {
      jest.spyOn(Logger.prototype, level).mockImplementation((...lines: unknown[]) => {
        log[level] += String(lines[0]);
        if (level === 'error') stacks.push(lines[1]);
      });
    }
    server = createServer((request, response) => listener(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  beforeEach(() => Object.assign(log, { error: '', warn: '', debug: '' }));

  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    jest.restoreAllMocks();
  });

  it('is a problem with its headers, and drops those of the answer that did not come', async () => {
    listener = (request, response) => {
      response.setHeader('X-Request-Id', 'r-1');
      response.setHeader('ETag', '"x"');
      response.setHeader('Location', '/x');
      const error = new AppError('TOO_MANY_REQUESTS', 'Later.', {
        retryAfterSeconds: 1.2,
        headers: { Allow: 'GET' },
      });
      writeProblem(error, request, response);
    };
    const response = await fetch(`${url}/a/b?token=secret`);
    expect(response.status).toBe(503);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'retry-after': '2',
      allow: 'GET',
    });
    expect(response.headers.get('etag')).toBeNull();
    expect(response.headers.get('location')).toBeNull();
    expect(await response.json()).toMatchObject({ instance: '/a/b', requestId: 'r-1' });
    expect(log.debug).toContain('GET /a/b -> 503 TOO_MANY_REQUESTS');
    expect(JSON.stringify(log)).not.toContain('secret');
  });

  it('tells the log, not the caller, what really happened', async () => {
    listener = (request, response) => {
      writeProblem(new Error('SELECT secret'), request, response);
    };
    const response = await fetch(url);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
    expect(log.error).toContain('SELECT secret');
  });

  it('has the stack of faults of our own in the log, not that of a database that is away', async () => {
    const cause = new Error('connect ECONNREFUSED');
    const away = new AppError('DATABASE_UNAVAILABLE', 'Away.', { cause });
    for (const [thrown, stack] of [
      [cause, cause.stack],
      [away, undefined],
    ]) {
      stacks = [];
      listener = (request, response) => writeProblem(thrown, request, response);
      await (await fetch(url)).text();
      expect(stacks).toEqual([stack]);
    }
    expect(log.error).toMatch(/DATABASE_UNAVAILABLE: .* Error: connect ECONNREFUSED/);
  });

  it('is a cut connection when an answer has begun', async () => {
    listener = (request, response) => {
      response.write('half', () => writeProblem(new Error('too late'), request, response));
    };
    const response = await fetch(url);
    await expect(response.text()).rejects.toThrow();
  });
});
