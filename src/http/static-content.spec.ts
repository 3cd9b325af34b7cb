import express from 'express';
import fc from 'fast-check';
import request from 'supertest';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { sendStatic, StaticContent } from './static-content';

const DECODERS: Record<string, (bytes: Buffer) => Buffer> = {
  br: brotliDecompressSync,
  gzip: gunzipSync,
  deflate: inflateSync,
  identity: (bytes) => bytes,
};
const TEXT = Buffer.from('Audit events. '.repeat(200));

describe('StaticContent', () => {
  it('is encoded as its client accepts it', async () => {
    const accepted = fc.constantFrom(
      undefined,
      '',
      'br',
      'gzip',
      'deflate',
      'gzip;q=0.1, br;q=0',
      '*',
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4000 }), accepted, async (bytes, header) => {
        const content = new StaticContent(Buffer.from(bytes), 'text/plain');
        const { coding, body } = await content.encodedFor(header);
        expect(DECODERS[coding]?.(body)).toEqual(content.bytes);
      }),
    );
  });

  it('is compressed once', async () => {
    const content = new StaticContent(TEXT, 'text/plain');
    const bodies = await Promise.all([1, 2, 3].map(() => content.encodedFor('br')));
    expect(new Set(bodies.map(({ body }) => body)).size).toBe(1);
    expect(bodies[0]?.body.length).toBeLessThan(TEXT.length / 2);
  });

  it.each([
    ['a short text', Buffer.from('short'), 'text/plain'],
    ['an image that is compressed', TEXT, 'image/png'],
  ])('is left as it is: %s', async (_name, bytes, type) => {
    expect((await new StaticContent(bytes, type).encodedFor('br')).coding).toBe('identity');
  });
});

describe('sendStatic', () => {
  const application = express().disable('etag');
  application.get('/', (incoming, outgoing, next) => {
    const content = new StaticContent(TEXT, 'text/plain; charset=utf-8');
    sendStatic(incoming, outgoing, content, { 'Cache-Control': 'no-cache' }).catch(next);
  });

  it('has a validator for each coding, with which clients get 304', async () => {
    const etags = new Set<string>();
    for (const coding of ['identity', 'gzip', 'br', 'deflate']) {
      const whole = await request(application)
        .get('/')
        .set('Accept-Encoding', coding)
        .buffer(false);
      const { etag = '', vary } = whole.headers as Record<string, string>;
      expect(etag).toMatch(/^"/);
      etags.add(etag);
      expect(vary).toBe('Accept-Encoding');
      const again = request(application).get('/').set('Accept-Encoding', coding);
      const { status, headers } = await again.set('If-None-Match', `"other", ${etag}`);
      expect([status, headers.etag, headers['cache-control']]).toEqual([304, etag, 'no-cache']);
    }
    expect(etags.size).toBe(4);
  });

  it('responds to HEAD with the length of GET', async () => {
    const whole = await request(application).get('/').set('Accept-Encoding', 'identity');
    const head = await request(application).head('/').set('Accept-Encoding', 'identity');
    expect(head.headers['content-length']).toBe(whole.headers['content-length']);
    expect(head.headers.etag).toBe(whole.headers.etag);
  });
});
