import { randomUUID } from 'node:crypto';
import { CachingInterceptor } from '../../src/caching/http-cache';
import { rawRequest, type RawAnswer } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/** Left to express by the fast path, with the same meaning. */
const ORDINARY = { accept: 'application/json;q=0.9, text/html;q=0.1' };
const ATTEMPTS = 5;

let service: TestService;
let token: string;
let id: string;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf();
  await service.post(`${EVENTS}/bulk`, token, {
    events: Array.from({ length: 30 }, (_, index) =>
      eventWith({ action: `act.${index % 3}`, outcomeDescription: 'ü'.repeat(100) }),
    ),
  });
  const page = await service.get(`${EVENTS}?limit=1`, token);
  id = (page.json.data as { id: string }[])[0]?.id ?? '';
});

afterAll(() => service.stop());

/** What differs between any two answers. */
const VARYING = new Set(['x-request-id', 'x-response-time', 'server-timing', 'date']);

function comparable({ status, headers, body }: RawAnswer): unknown {
  const kept = headers.filter(([name]) => !VARYING.has(name));
  return { status, headers: kept.sort(), body: body.toString('base64') };
}

async function both(
  path: string,
  headers: Record<string, string>,
): Promise<{ fast: RawAnswer; ordinary: RawAnswer }> {
  const all = { authorization: `Bearer ${token}`, 'x-request-id': 'the-same', ...headers };
  for (let attempt = 1; ; attempt += 1) {
    const ordinary = await rawRequest(service.port, 'GET', path, { ...all, ...ORDINARY });
    const fast = await rawRequest(service.port, 'GET', path, all);
    // Between the two a second of Age may begin: then both are asked again.
    const isSameSecond = headerOf(fast, 'age') === headerOf(ordinary, 'age');
    if (isSameSecond || attempt === ATTEMPTS) return { fast, ordinary };
  }
}

const headerOf = ({ headers }: RawAnswer, name: string) =>
  headers.find(([key]) => key === name)?.[1];

describe('the fast path and the express path to the cache', () => {
  const paths: [string, () => string][] = [
    ['the first page', () => EVENTS],
    ['its other name', () => '/api/v1/performance/audit/events'],
    ['a short page', () => `${EVENTS}?limit=2`],
    ['a page by offset', () => `${EVENTS}?limit=2&offset=3&include_total=true`],
    ['a filter', () => `${EVENTS}?actions=act.1,act.2&sort_field=sequence&sort_direction=asc`],
    ['an empty page', () => `${EVENTS}?actions=${randomUUID()}`],
    ['one event', () => `${EVENTS}/${id}`],
    ['one event of an organization', () => `${EVENTS}/${id}?organization_ids=org-1`],
    ['no such event', () => `${EVENTS}/${randomUUID()}`],
    ['no id', () => `${EVENTS}/abc`],
    ['a bad limit', () => `${EVENTS}?limit=0`],
    ['an unknown parameter', () => `${EVENTS}?x=1`],
    ['a bad cursor', () => `${EVENTS}?cursor=abcdefgh`],
    ['a foreign organization', () => `${EVENTS}?organization_ids=org-2`],
    ['a bad encoding', () => `${EVENTS}?actions=%E0%A4`],
  ];
  const wishes: [string, Record<string, string>][] = [
    ['as it is', {}],
    ['compressed', { 'accept-encoding': 'gzip, deflate, br' }],
    ['as gzip alone', { 'accept-encoding': 'gzip;q=0.5' }],
    ['as deflate alone', { 'accept-encoding': 'deflate' }],
    ['in no coding it knows', { 'accept-encoding': 'zstd' }],
    ['if it is another', { 'if-none-match': '"abc", W/"def"' }],
    ['if there is none', { 'if-none-match': '*' }],
    ['if stale will do', { 'cache-control': 'max-stale=60' }],
  ];

  describe.each(paths)('%s', (_, path) => {
    it.each(wishes)(
      'is given %s alike, byte for byte and header by header',
      async (__, headers) => {
        const where = path();
        await both(where, headers); // kept from now on
        const { fast, ordinary } = await both(where, headers);
        expect(comparable(fast)).toEqual(comparable(ordinary));
        expect(fast.status).toBeLessThan(500);
      },
    );
  });

  it('serve misses and bypasses alike', async () => {
    for (const headers of [{ 'cache-control': 'no-cache' }, { 'cache-control': 'no-store' }]) {
      const { fast, ordinary } = await both(EVENTS, headers);
      expect(comparable(fast)).toEqual(comparable(ordinary));
      expect(headerOf(fast, 'x-cache')).toBe('BYPASS');
    }
    const first = `${EVENTS}?actions=${randomUUID()}`;
    const second = `${EVENTS}?actions=${randomUUID()}`;
    const headers = { authorization: `Bearer ${token}` };
    const fast = await rawRequest(service.port, 'GET', first, headers);
    const ordinary = await rawRequest(service.port, 'GET', second, { ...headers, ...ORDINARY });
    expect([fast, ordinary].map((answer) => headerOf(answer, 'x-cache'))).toEqual(['MISS', 'MISS']);
    expect(fast.headers.map(([name]) => name).sort()).toEqual(
      ordinary.headers.map(([name]) => name).sort(),
    );
  });

  it('share entries, and 304 to the same validators', async () => {
    const { fast, ordinary } = await both(`${EVENTS}?limit=7`, {});
    expect([ordinary, fast].map((answer) => headerOf(answer, 'x-cache'))).toEqual(['MISS', 'HIT']);
    const again = await both(`${EVENTS}?limit=7`, {
      'if-none-match': headerOf(fast, 'etag') ?? '',
    });
    expect([again.fast.status, again.ordinary.status]).toEqual([304, 304]);
    expect(comparable(again.fast)).toEqual(comparable(again.ordinary));
  });

  it('are two: the plain case does not reach the interceptor', async () => {
    const spy = jest.spyOn(CachingInterceptor.prototype, 'intercept');
    try {
      const headers = { authorization: `Bearer ${token}` };
      await rawRequest(service.port, 'GET', EVENTS, headers);
      await rawRequest(service.port, 'GET', `${EVENTS}/${id}`, headers);
      expect(spy).not.toHaveBeenCalled();
      await rawRequest(service.port, 'GET', EVENTS, { ...headers, ...ORDINARY });
      await rawRequest(service.port, 'HEAD', EVENTS, headers);
      expect(spy).toHaveBeenCalledTimes(2);
    } finally {
      spy.mockRestore();
    }
  });
});
