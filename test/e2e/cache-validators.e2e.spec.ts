import { createHash, randomUUID } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { until } from '../integration/until.fixture';
import { rawRequest, type RawAnswer } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/** Left to express by the fast path, with the same meaning. */
const ORDINARY = { accept: 'application/json;q=0.9, text/html;q=0.1' };

let service: TestService;
let token: string;
let manager: string;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '', CACHE_DEFAULT_TTL_SECONDS: '77' });
  token = await tokenOf();
  manager = await tokenOf({ scope: 'performance:manage', organizations: ['*'] });
  const events = Array.from({ length: 60 }, (_, index) =>
    eventWith({ action: `act.${index % 3}`, outcomeDescription: 'ü'.repeat(100) }),
  );
  expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
});

afterAll(() => service.stop());

function get(path: string, headers: Record<string, string> = {}): Promise<RawAnswer> {
  return rawRequest(service.port, 'GET', path, { authorization: `Bearer ${token}`, ...headers });
}

const headerOf = ({ headers }: RawAnswer, name: string) =>
  headers.find(([key]) => key === name)?.[1];

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64url');

/** Removes everything that is kept. */
async function evict(): Promise<void> {
  const { json } = await service.request('DELETE', '/api/v1/performance/cache?pattern=*', {
    token: manager,
  });
  expect(json.invalidated).toBeGreaterThan(0);
}

describe('the ETag', () => {
  const codings: [string, (body: Buffer) => Buffer][] = [
    ['gzip', gunzipSync],
    ['br', brotliDecompressSync],
    ['identity', (body) => body],
  ];

  it('is strong, and the hash of the very bytes in each coding', async () => {
    const etags = new Set<string>();
    const plain = (await get(EVENTS)).body;
    for (const [coding, decode] of codings) {
      const answer = await get(EVENTS, { 'accept-encoding': coding });
      const etag = headerOf(answer, 'etag') ?? '';
      expect(etag).toMatch(/^"[\w-]{24}"$/);
      expect(etag).toBe(`"${hashOf(answer.body).slice(0, 24)}"`);
      expect(headerOf(answer, 'content-encoding')).toBe(coding === 'identity' ? undefined : coding);
      expect(Number(headerOf(answer, 'content-length'))).toBe(answer.body.length);
      expect(decode(answer.body).equals(plain)).toBe(true);
      etags.add(etag);
    }
    expect(etags.size).toBe(codings.length);
  });

  it.each(codings)(
    'of %s stays when the response is cached, and when it is made again',
    async (coding) => {
      const wish = { 'accept-encoding': coding };
      const first = await get(`${EVENTS}?limit=40`, wish);
      const kept = await get(`${EVENTS}?limit=40`, wish);
      await evict();
      const again = await get(`${EVENTS}?limit=40`, wish);
      const byPassed = await get(`${EVENTS}?limit=40`, { ...wish, 'cache-control': 'no-store' });
      expect([kept, again, byPassed].map((answer) => headerOf(answer, 'x-cache'))).toEqual([
        'HIT',
        'MISS',
        'BYPASS',
      ]);
      for (const answer of [kept, again, byPassed]) {
        expect(headerOf(answer, 'etag')).toBe(headerOf(first, 'etag'));
        expect(hashOf(answer.body)).toBe(hashOf(first.body));
      }
    },
  );

  it('changes with a new event, and the old one is no longer good', async () => {
    const path = `${EVENTS}?actions=${randomUUID()},act.0`;
    const before = await get(path);
    const old = { 'if-none-match': headerOf(before, 'etag') ?? '' };
    expect((await get(path, old)).status).toBe(304);
    await service.post(EVENTS, token, eventWith({ action: 'act.0' }));
    const after = await get(path, old);
    expect(after.status).toBe(200);
    expect(headerOf(after, 'etag')).not.toBe(headerOf(before, 'etag'));
    expect(after.body.equals(before.body)).toBe(false);
  });
});

describe.each([
  ['on the fast path', {}],
  ['on the ordinary path', ORDINARY],
])('If-None-Match %s', (_, headers) => {
  const lists: [string, (etag: string) => string][] = [
    ['the tag', (etag) => etag],
    ['the weak tag', (etag) => `W/${etag}`],
    ['a list with it', (etag) => `"a,b", W/"c" ,${etag}`],
    ['anything', () => '*'],
  ];

  it.each(lists)('naming %s is answered 304, without a body', async (__, header) => {
    const full = await get(EVENTS, { ...headers, 'accept-encoding': 'gzip' });
    const etag = headerOf(full, 'etag') ?? '';
    const answer = await get(EVENTS, {
      ...headers,
      'accept-encoding': 'gzip',
      'if-none-match': header(etag),
    });
    expect(answer.status).toBe(304);
    expect(answer.body).toHaveLength(0);
    for (const name of ['etag', 'vary', 'cache-control', 'link']) {
      expect(headerOf(answer, name)).toBe(headerOf(full, name));
      expect(headerOf(answer, name)).toBeDefined();
    }
    expect(headerOf(answer, 'x-cache')).toBe('HIT');
    expect(headerOf(answer, 'age')).toMatch(/^\d+$/);
    expect(headerOf(answer, 'content-type')).toBeUndefined();
    expect(headerOf(answer, 'content-encoding')).toBeUndefined();
  });

  const others: [string, (etag: string) => string][] = [
    ['another tag', () => '"another"'],
    ['the tag without quotes', (etag) => etag.slice(1, -1)],
    ['part of the tag', (etag) => `${etag.slice(0, -2)}"`],
    ['the tag inside another', (etag) => `"x${etag.slice(1)}`],
    ['an empty list', () => ''],
  ];

  it.each(others)('naming %s is answered in full', async (__, header) => {
    const full = await get(EVENTS, headers);
    const wanted = { ...headers, 'if-none-match': header(headerOf(full, 'etag') ?? '') };
    const answer = await get(EVENTS, wanted);
    expect(answer.status).toBe(200);
    expect(answer.body.equals(full.body)).toBe(true);
  });

  it('with the tag of another coding is answered in full', async () => {
    const etag =
      headerOf(await get(EVENTS, { ...headers, 'accept-encoding': 'gzip' }), 'etag') ?? '';
    const answer = await get(EVENTS, {
      ...headers,
      'accept-encoding': 'br',
      'if-none-match': etag,
    });
    expect(answer.status).toBe(200);
    expect(headerOf(answer, 'content-encoding')).toBe('br');
  });
});

describe('the headers of a cacheable read', () => {
  it('say how long it is kept here, and that clients must ask each time', async () => {
    for (const path of [EVENTS, `${EVENTS}?limit=3`]) {
      const answer = await get(path);
      expect(headerOf(answer, 'cache-control')).toBe('private, max-age=77, no-cache');
      expect(headerOf(answer, 'vary')).toBe('Authorization, Accept-Encoding');
      expect(headerOf(answer, 'content-type')).toBe('application/json; charset=utf-8');
      expect(headerOf(answer, 'link')).toContain('rel="first"');
    }
  });

  it.each([
    ['on the fast path', {}],
    ['on the ordinary path', ORDINARY],
  ])('are those of GET when HEAD asks (after a GET %s)', async (_, headers) => {
    const path = `${EVENTS}?limit=20`;
    const full = await get(path, { ...headers, 'accept-encoding': 'gzip' });
    const head = await rawRequest(service.port, 'HEAD', path, {
      authorization: `Bearer ${token}`,
      'accept-encoding': 'gzip',
    });
    expect(head.status).toBe(200);
    expect(head.body).toHaveLength(0);
    for (const name of [
      'etag',
      'content-length',
      'content-type',
      'content-encoding',
      'vary',
      'cache-control',
      'link',
    ]) {
      expect([name, headerOf(head, name)]).toEqual([name, headerOf(full, name)]);
    }
    expect(headerOf(head, 'x-cache')).toBe('HIT');
    const conditional = await rawRequest(service.port, 'HEAD', path, {
      authorization: `Bearer ${token}`,
      'if-none-match': '*',
    });
    expect(conditional.status).toBe(304);
  });

  it('have the age in whole seconds, and it grows', async () => {
    const path = `${EVENTS}?limit=19`;
    expect(headerOf(await get(path), 'age')).toBe('0');
    const ages: number[] = [];
    await until(async () => {
      const age = headerOf(await get(path), 'age') ?? '';
      expect(age).toMatch(/^\d+$/);
      ages.push(Number(age));
      return Number(age) >= 1;
    });
    expect(ages).toEqual([...ages].sort((one, other) => one - other));
  });

  it('of an error are not those of a cacheable response', async () => {
    for (const path of [`${EVENTS}/${randomUUID()}`, `${EVENTS}?limit=0`]) {
      for (let count = 0; count < 2; count += 1) {
        const answer = await get(path);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        for (const name of ['x-cache', 'etag', 'age']) {
          expect(headerOf(answer, name)).toBeUndefined();
        }
        expect(headerOf(answer, 'cache-control')).toBe('no-store');
      }
    }
  });

  it('of a single event have no links, and the event is kept by its id', async () => {
    const { json } = await service.post(EVENTS, token, eventWith());
    const path = `${EVENTS}/${json.id}`;
    const answers = [
      await get(path),
      await get(path),
      await get(path.toUpperCase().replace(EVENTS.toUpperCase(), EVENTS)),
    ];
    expect(answers.map((answer) => headerOf(answer, 'x-cache'))).toEqual(['MISS', 'HIT', 'HIT']);
    expect(headerOf(answers[1], 'link')).toBeUndefined();
    expect(JSON.parse(answers[2]?.body.toString() ?? '')).toMatchObject({ id: json.id });
  });
});
