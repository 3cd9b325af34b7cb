import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BodyMemoryLimiter, estimateParsedBytes } from './body-memory-limiter';
import { exactJsonText, parseExactJson } from '../platform/runtime/lossless-json';

const MB = 1024 * 1024;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function response(): ServerResponse {
  return Object.assign(new EventEmitter(), { destroyed: false }) as unknown as ServerResponse;
}

const refusal = (code: string) => expect.objectContaining({ code });

describe('BodyMemoryLimiter', () => {
  it('reserves memory until the responses have ended, and refuses bodies beyond it', () => {
    const limiter = new BodyMemoryLimiter(10 * MB);
    const body = Buffer.alloc(2 * MB, 'x');
    const first = response();
    limiter.reserve(body, first);
    expect(limiter.reserved).toBe(6 * MB);
    expect(() => limiter.reserve(body, response())).toThrow(
      expect.objectContaining({ code: 'TOO_MANY_REQUESTS', retryAfterSeconds: 1 }),
    );
    first.emit('close');
    expect(limiter.reserved).toBe(0);
    expect(() => limiter.reserve(body, response())).not.toThrow();
  });

  it('refuses a body that would not fit alone as too large', () => {
    const limiter = new BodyMemoryLimiter(100 * MB);
    const body = Buffer.from(`[${'{},'.repeat(MB)}{}]`);
    expect(() => limiter.reserve(body, response())).toThrow(refusal('REQUEST_TOO_LARGE'));
    expect(limiter.reserved).toBe(0);
  });

  it('reserves once for a request', () => {
    const limiter = new BodyMemoryLimiter(10 * MB);
    const reply = response();
    limiter.reserve(Buffer.alloc(MB, 'x'), reply);
    limiter.reserve(Buffer.alloc(MB, 'x'), reply);
    expect(limiter.reserved).toBe(3 * MB);
    reply.emit('close');
    expect(limiter.reserved).toBe(0);
  });

  it('holds more for what a body becomes, until its response has ended', () => {
    const limiter = new BodyMemoryLimiter(10 * MB);
    const [reply, other] = [response(), response()];
    limiter.reserve(Buffer.alloc(MB, 'x'), reply);
    limiter.reserve(Buffer.alloc(MB, 'x'), other);
    limiter.reserveMore(2 * MB, reply);
    expect(limiter.reserved).toBe(8 * MB);
    expect(() => limiter.reserveMore(3 * MB, other)).toThrow(refusal('TOO_MANY_REQUESTS'));
    expect(() => limiter.reserveMore(6 * MB, reply)).toThrow(refusal('REQUEST_TOO_LARGE'));
    expect(limiter.reserved).toBe(8 * MB);
    reply.emit('close');
    limiter.reserveMore(MB, response());
    expect(limiter.reserved).toBe(3 * MB);
  });

  it('reserves nothing for a client that is gone', () => {
    const limiter = new BodyMemoryLimiter(10 * MB);
    limiter.reserve(Buffer.alloc(MB), Object.assign(response(), { destroyed: true }));
    expect(limiter.reserved).toBe(0);
  });
});

describe('estimateParsedBytes', () => {
  it.each([
    ['objects', '{},'],
    ['lists', '[],'],
    ['numbers', '0,'],
  ])('is at least what V8 takes for %s', (_, unit) => {
    const text = `[${unit.repeat(MB).slice(0, -1)}]`;
    const before = process.memoryUsage().heapUsed;
    const value: unknown = JSON.parse(text);
    const taken = process.memoryUsage().heapUsed - before;
    expect(value).toHaveLength(MB);
    expect(estimateParsedBytes(Buffer.from(text))).toBeGreaterThan(taken);
  });

  it.each([
    '922337203685477580799',
    '1.0',
    '-12.50',
    '1E3',
    '2e-7',
    '1234567890123456.0',
    '1.234567890123456E12',
  ])('is at least what numbers like %s take that are written as they came', (number) => {
    const text = `{"metadata":{"list":[${`${number},`.repeat(MB / 4).slice(0, -1)}]}}`;
    collect();
    const before = process.memoryUsage().heapUsed;
    const value = parseExactJson(text) as { metadata: object };
    const written = exactJsonText(value.metadata);
    collect();
    const taken = process.memoryUsage().heapUsed - before;
    expect(written).toHaveLength(text.length - '{"metadata":}'.length);
    expect(estimateParsedBytes(Buffer.from(text))).toBeGreaterThan(taken + text.length);
    expect(value).toBeDefined(); // until here
  });
});
