import { randomUUID } from 'node:crypto';
import { EventBodyInterceptor } from '../../src/audit/api/event-body';
import { EVENTS, eventWith, TestService, tokenOf, type Answer } from '../support/test-service';

/** The same route by the ordinary way: the fast route takes no query. */
const ORDINARY = `${EVENTS}?way=ordinary`;
/** The routes have this name too. */
const ALIAS = '/api/v1/performance/audit/events';

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ REQUEST_MAX_SIZE_MB: '1' });
  token = await tokenOf();
  await service.get(EVENTS, token); // a token is known to the fast route after its first use
});

afterAll(() => service.stop());

/** What differs between any two answers: ids of request and event, and times. */
const VARYING = new Set(['x-request-id', 'x-response-time', 'server-timing', 'date', 'location']);

function comparable({ status, headers, text }: Answer): unknown {
  const kept = [...headers].filter(([name]) => !VARYING.has(name));
  const varying = [...headers].map(([name]) => name).filter((name) => VARYING.has(name));
  const body = text
    .replace(/"(id|timestamp|recordedAt|sequence|requestId)":"[^"]*"/g, '"$1":"…"')
    .replace(/it is \S+ here/g, 'it is … here');
  return { status, headers: kept.filter(([name]) => name !== 'content-length'), varying, body };
}

interface Case {
  name: string;
  body: string | Uint8Array;
  headers?: Record<string, string>;
  token?: () => Promise<string> | string;
}

const event = (members: Record<string, unknown> = {}) => JSON.stringify(eventWith(members));

const CASES: Case[] = [
  { name: 'an event', body: event() },
  { name: 'a full event', body: event({ principalId: 'ü', metadata: { a: [1, null] } }) },
  { name: 'exact numbers', body: event().replace('}', ',"metadata":{"n":1.10,"m":1E400}}') },
  { name: 'a bad member', body: event({ status: 'done', foo: 1 }) },
  { name: 'a foreign organization', body: event({ organizationId: 'org-2' }) },
  { name: 'a timestamp ahead', body: event({ timestamp: '2999-01-01T00:00:00Z' }) },
  { name: 'NUL', body: event({ action: 'a\0b' }) },
  { name: 'an array', body: '[]' },
  { name: 'null', body: 'null' },
  { name: 'broken JSON', body: '{"a":' },
  { name: 'broken UTF-8', body: new Uint8Array([0x22, 0xff, 0x22]) },
  { name: 'nothing', body: '' },
  { name: 'too much', body: event({ outcomeDescription: 'x'.repeat(1_100_000) }) },
  { name: 'another type', body: event(), headers: { 'content-type': 'text/plain' } },
  { name: 'another charset', body: event(), headers: { 'content-type': 'application/json; charset=latin1' } },
  { name: 'a claimed gzip', body: event(), headers: { 'content-encoding': 'gzip' } },
  { name: 'an unacceptable answer', body: event(), headers: { accept: 'text/html' } },
  { name: 'JSON among others accepted', body: event(), headers: { accept: 'text/html, application/json;q=0.5' } },
  { name: 'JSON accepted with a charset', body: event(), headers: { accept: 'application/json; charset=utf-8' } },
  { name: 'JSON accepted with another parameter', body: event(), headers: { accept: 'application/json;odata=verbose' } },
  { name: 'a lone star accepted', body: event(), headers: { accept: '*' } },
  { name: 'a key that is not printable', body: event(), headers: { 'idempotency-key': 'ü' } },
  { name: 'no token', body: event(), token: () => '' },
  { name: 'a broken token', body: event(), token: () => 'a.b.c' },
  { name: 'an expired token', body: event(), token: () => tokenOf({ exp: 1 }) },
  { name: 'a token without the scope', body: event(), token: () => tokenOf({ scope: 'audit:read' }) },
  { name: 'a token never seen', body: event(), token: () => tokenOf({ sub: randomUUID() }) },
]; // prettier-ignore

describe('the fast route and the ordinary path', () => {
  it.each(CASES)('answer $name alike, byte for byte and header by header', async (one) => {
    const auth = one.token ? await one.token() : token;
    const headers = {
      'content-type': 'application/json',
      ...(auth === '' ? {} : { authorization: `Bearer ${auth}` }),
      ...one.headers,
    };
    const ordinary = await service.request('POST', ORDINARY, { headers, body: one.body });
    const hot = await service.request('POST', EVENTS, { headers, body: one.body });
    expect(comparable(hot)).toEqual({
      ...(comparable(ordinary) as object),
    });
    expect(hot.status).toBeLessThan(500);
  });

  it('share idempotency keys and duplicates', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const body = event({ id: randomUUID() });
    const first = await service.post(EVENTS, token, body, headers);
    const replay = await service.post(ORDINARY, token, body, headers);
    expect([first.status, replay.status]).toEqual([201, 201]);
    expect(replay.text).toBe(first.text);
    const hot = await service.post(EVENTS, token, body);
    const ordinary = await service.post(ORDINARY, token, body);
    expect([hot.status, ordinary.status]).toEqual([200, 200]);
    expect(hot.text).toBe(ordinary.text);
    expect(comparable(hot)).toEqual(comparable(ordinary));
  });

  it.each([EVENTS, ALIAS])(
    'are two at %s: the plain case never reaches the middleware around the controller',
    async (path) => {
      const body = jest.spyOn(EventBodyInterceptor.prototype, 'intercept');
      try {
        await service.post(path, token, event());
        expect(body).not.toHaveBeenCalled();
        await service.post(`${path}?way=ordinary`, token, event());
        expect(body).toHaveBeenCalledTimes(1);
      } finally {
        body.mockRestore();
      }
    },
  );
});
