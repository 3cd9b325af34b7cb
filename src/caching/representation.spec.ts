import { createHash } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type Encoded, Representation } from './representation';

const LONG = 'ü'.repeat(2000);
const bytesOf = ({ parts }: Encoded) => Buffer.concat([...parts]);
const make = (head: string, tail: string) =>
  new Representation([Buffer.from(head), Buffer.from(tail)], Buffer.byteLength(head), {
    Link: '<x>',
  });

describe('Representation', () => {
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

  it('compresses once for all who wait, and keeps that', async () => {
    const representation = make(LONG, '}');
    expect(representation.ready('gzip')).toBeUndefined();
    const [first, second] = await Promise.all([
      representation.encode('gzip'),
      representation.encode('gzip'),
    ]);
    expect(second).toBe(first);
    expect(representation.ready('gzip')).toBe(first);
  });

  it('has the same tag when it is made again', async () => {
    for (const coding of ['gzip', 'br', 'identity'] as const) {
      const tags = [await make(LONG, '}').encode(coding), await make(LONG, '}').encode(coding)];
      expect(tags[0]?.etag).toBe(tags[1]?.etag);
    }
  });

  it('has one tag however it is split into head and tail', () => {
    const [one, other] = [make('{"a":1', '}'), make('{"a":1}', '')];
    expect(one.ready('identity')?.etag).toBe(other.ready('identity')?.etag);
  });

  it('does not compress what is short', async () => {
    const representation = make('{"a":1', '}');
    expect(representation.ready('br')?.coding).toBe('identity');
    expect((await representation.encode('gzip')).coding).toBe('identity');
  });

  it('keeps no larger buffer alive than its bytes', async () => {
    const { parts } = await make(LONG, '}').encode('gzip');
    for (const part of parts) expect(part.buffer.byteLength).toBe(part.length);
  });
});
