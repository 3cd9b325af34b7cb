import { createHash } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { CacheEntry, type Representation, RenderedResponse } from './cache-entry';
import { exactBuffer } from './cached-read';

const TEXT = '{"data":["ü"]';
const SHARED = { head: exactBuffer(TEXT), tailData: { next: [1, 'x'] } };

const entryOf = (readAtMs = performance.now(), ttlMs = 60_000) =>
  new CacheEntry(SHARED, readAtMs, ttlMs, 'group');

const KEPT = { group: 'group', ttlMs: 60_000 };
const NOTHING = { tail: '', headers: {} };
const bodyOf = (entry: CacheEntry, variant: string) =>
  Buffer.concat([...(entry.response(variant)?.ready('identity')?.parts ?? [])]).toString();

describe('CacheEntry', () => {
  it('returns from the shared tier unchanged', () => {
    const stored: unknown = JSON.parse(JSON.stringify(entryOf()));
    const revived = CacheEntry.revive({ stored, leftMs: 57_500 }, KEPT);
    expect(revived?.ageSeconds()).toBe(2);
    expect(revived).toMatchObject({
      ttlMs: 60_000,
      tailData: SHARED.tailData,
      group: 'group',
    });
    revived?.render('alice', NOTHING);
    expect(revived && bodyOf(revived, 'alice')).toBe(TEXT);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'x'],
    ['a list', []],
    ['an object of others', { head: '{}' }],
    ['another version', { version: 1, createdAtMs: 0, ttlMs: 60_000, head: '{}', rest: null }],
    ['a wrong type', { version: 4, ttlMs: '1', head: '{}', rest: null }],
    ['no JSON', { version: 4, ttlMs: 60_000, head: '<html>', rest: null }],
    ['half of it', { version: 4, ttlMs: 60_000, head: '{}' }],
  ])('is not made of %s', (_, stored) => {
    expect(CacheEntry.revive({ stored, leftMs: 60_000 }, KEPT)).toBeUndefined();
    expect(CacheEntry.revive(stored, KEPT)).toBeUndefined();
  });

  it.each([-2, -1, 0, undefined, 'soon'])(
    'is not made of what Redis keeps for %p yet',
    (leftMs) => {
      const stored: unknown = JSON.parse(JSON.stringify(entryOf()));
      expect(CacheEntry.revive({ stored, leftMs }, KEPT)).toBeUndefined();
    },
  );

  it('has the age that Redis has counted, within the lifetime of this replica', () => {
    const stored: unknown = JSON.parse(JSON.stringify(entryOf(performance.now(), 300_000)));
    const revive = (leftMs: number) => CacheEntry.revive({ stored, leftMs }, KEPT);
    expect(revive(299_000)?.ageSeconds()).toBe(1);
    expect(revive(200_000)).toBeUndefined(); // 100 s old: this replica keeps answers for 60
    expect(revive(400_000)?.ageSeconds()).toBe(0);
  });

  it.each([-3_600_000, 0, 3_600_000])(
    'has an age that a wall clock set by %i ms does not change',
    (step) => {
      const entry = entryOf(performance.now() - 2500, 3000);
      const now = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + step);
      try {
        expect(entry.ageSeconds()).toBe(2);
        expect(entry.remainingMs()).toBeGreaterThan(0);
        expect(entry.remainingMs()).toBeLessThanOrEqual(500);
      } finally {
        now.mockRestore();
      }
    },
  );

  it('has a limited number of rendered responses: the oldest is dropped', () => {
    const entry = entryOf();
    for (let reader = 0; reader < 17; reader += 1) entry.render(`${reader}`, NOTHING);
    expect(entry.response('0')).toBeUndefined();
    for (const reader of ['1', '16']) expect(entry.response(reader)).toBeDefined();
  });

  it('drops none that is used when others are added', () => {
    const entry = entryOf();
    for (let reader = 0; reader < 16; reader += 1) entry.render(`${reader}`, NOTHING);
    for (let spelling = 0; spelling < 100; spelling += 1) {
      expect(entry.response('7')).toBeDefined();
      entry.render(`again ${spelling}`, NOTHING);
    }
    expect(entry.response('6')).toBeUndefined();
  });

  it('renders a tail for each reader behind the same head', () => {
    const entry = entryOf();
    for (const tail of [',"a":1}', ',"ü":2}', '']) entry.render(tail, { tail, headers: {} });
    for (const tail of [',"a":1}', ',"ü":2}', '']) {
      expect(bodyOf(entry, tail)).toBe(`${TEXT}${tail}`);
    }
    expect(JSON.parse(JSON.stringify(entry))).toMatchObject({ head: TEXT });
  });

  it('grows by each response and each coding of it', async () => {
    const entry = entryOf();
    const bare = entry.sizeBytes;
    const response = entry.render('alice', {
      tail: 'x'.repeat(5000),
      headers: { Link: '<y>' },
    });
    const rendered = entry.sizeBytes;
    const { length } = await response.encode('gzip');
    expect(rendered - bare).toBeGreaterThanOrEqual(5000 + 2 * 'alice'.length);
    const objects = 1300; // beside the texts, as measured for OBJECT_BYTES
    expect(rendered - bare).toBeLessThan(5000 + objects);
    expect(entry.sizeBytes - rendered).toBe(length);
    entry.render('bob', { tail: 'x'.repeat(5000), headers: {} });
    expect(entry.sizeBytes - rendered - length).toBeLessThan(5000 + objects);
  });
});

const LONG = 'ü'.repeat(2000);
const bytesOf = ({ parts }: Representation) => Buffer.concat([...parts]);
const make = (head: string, tail: string) =>
  new RenderedResponse([Buffer.from(head), Buffer.from(tail)], Buffer.byteLength(head), {
    Link: '<x>',
  });

describe('RenderedResponse', () => {
  it.each([
    ['gzip', gunzipSync],
    ['br', brotliDecompressSync],
    ['identity', (bytes: Buffer) => bytes],
  ] as const)('is head and tail in %s, with the hash of these bytes', async (coding, decode) => {
    const encoded = await make(LONG, '}').encode(coding);
    const bytes = bytesOf(encoded);
    expect(decode(bytes).toString()).toBe(`${LONG}}`);
    expect(encoded).toMatchObject({ coding, length: bytes.length });
    const hash = createHash('sha256').update(bytes).digest('base64url').slice(0, 24);
    expect(encoded.etag).toBe(`"${hash}"`);
  });

  it('compresses once for all that wait, and stores the result', async () => {
    const response = make(LONG, '}');
    expect(response.ready('gzip')).toBeUndefined();
    const [first, second] = await Promise.all([response.encode('gzip'), response.encode('gzip')]);
    expect(second).toBe(first);
    expect(response.ready('gzip')).toBe(first);
  });

  it('has the same tag when it is rendered again', async () => {
    for (const coding of ['gzip', 'br', 'identity'] as const) {
      const tags = [await make(LONG, '}').encode(coding), await make(LONG, '}').encode(coding)];
      expect(tags[0]?.etag).toBe(tags[1]?.etag);
    }
  });

  it('has the same tag for any division into head and tail', () => {
    const [one, other] = [make('{"a":1', '}'), make('{"a":1}', '')];
    expect(one.ready('identity')?.etag).toBe(other.ready('identity')?.etag);
  });

  it('does not compress a short body', async () => {
    const response = make('{"a":1', '}');
    expect(response.ready('br')?.coding).toBe('identity');
    expect((await response.encode('gzip')).coding).toBe('identity');
  });

  it('retains no buffer larger than its bytes', async () => {
    const { parts } = await make(LONG, '}').encode('gzip');
    for (const part of parts) expect(part.buffer.byteLength).toBe(part.length);
  });
});
