import type { Request, Response } from 'express';
import { createHash } from 'node:crypto';
import { COMPRESSORS } from './content-coding';
import { type Coding, preferredCoding } from './negotiation';
import { noteShareable } from './request-context';

/** Shorter bodies gain nothing by compression. */
const COMPRESSION_THRESHOLD_BYTES = 1400;
/** Types that are compressed themselves. */
const COMPRESSED_TYPE = /^image\/(?!svg)/;

/** 128 bits of SHA-256 in hexadecimal: no two contents with the same hash can be found. */
const HASH_LENGTH = 32;

/** Content that is the same for every client, in identity and in each coding requested so far. */
export class StaticContent {
  readonly hash: string;
  private readonly encoded = new Map<Coding, Promise<Buffer>>();

  /** @param type media type with its charset. */
  constructor(
    readonly bytes: Buffer,
    readonly type: string,
  ) {
    this.hash = createHash('sha256').update(bytes).digest('hex').slice(0, HASH_LENGTH);
  }

  /** Returns the coding that `Accept-Encoding` prefers, and the bytes in it, which are encoded once. */
  async encodedFor(acceptEncoding: string | undefined): Promise<{ coding: Coding; body: Buffer }> {
    const coding = this.isCompressible ? preferredCoding(acceptEncoding) : 'identity';
    if (coding === 'identity') return { coding, body: this.bytes };
    let encoding = this.encoded.get(coding);
    if (!encoding) {
      encoding = COMPRESSORS[coding](this.bytes);
      this.encoded.set(coding, encoding);
    }
    return { coding, body: await encoding };
  }

  private get isCompressible(): boolean {
    return this.bytes.length >= COMPRESSION_THRESHOLD_BYTES && !COMPRESSED_TYPE.test(this.type);
  }
}

/**
 * Sends static content, or 304 to a client that has it. `headers` (Cache-Control, CDN-Cache-Control) may make the response
 * public; then it has no headers about one request.
 */
export async function sendStatic(
  request: Request,
  response: Response,
  content: StaticContent,
  headers: Record<string, string>,
): Promise<void> {
  const { coding, body } = await content.encodedFor(request.headers['accept-encoding']);
  const { 'Cache-Control': caching, 'CDN-Cache-Control': cdnCaching = caching } = headers;
  if (cdnCaching?.startsWith('public')) noteShareable(response);
  response.vary('Accept-Encoding');
  // A strong validator stands for the bytes of one coding (RFC 9110, section 8.8.3.3).
  const suffix = coding === 'identity' ? '' : `-${coding}`;
  response.set({ ...headers, 'Content-Type': content.type, ETag: `"${content.hash}${suffix}"` });
  if (coding !== 'identity') response.set('Content-Encoding', coding);
  response.send(body);
}
