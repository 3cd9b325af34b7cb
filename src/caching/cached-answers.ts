import { Injectable } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SelfWritingAnswer } from '../front/front.adapter';
import { preferredCoding } from '../front/negotiation';
import { matchesEtag, readPolicyOf } from './cache-control';
import type { CacheEntry } from './cache-entry';
import type { CachedRead, ReadDescription } from './cached-read';
import { type Encoded, Rendition } from './rendition';
import { type CacheStatus, type Remembered, ResponseCache } from './response-cache';

/**
 * The HTTP side of the cache: which directives of a request count, which headers an answer has, and which bytes. The
 * interceptor and the door in front of express both answer through this, so they cannot differ.
 */
@Injectable()
export class CachedAnswers {
  constructor(private readonly cache: ResponseCache) {}

  /** Answers a read. `produce` reads it when no kept answer may be given. */
  async answer<D extends ReadDescription, Answer>(
    read: CachedRead<D, Answer>,
    description: D,
    request: IncomingMessage,
    produce: () => Promise<Answer>,
  ): Promise<CachedAnswer> {
    const remembered = await this.cache.remember(read, description, {
      path: pathOf(request.url),
      policy: readPolicyOf(request.headers),
      produce,
    });
    const { entry, key } = remembered;
    let rendition = entry.rendition(description.variant);
    if (!rendition) {
      rendition = new Rendition(entry.head, read.render(entry.rest, description));
      entry.keep(description.variant, rendition);
      if (key !== undefined) this.cache.resized(key);
    }
    const coding = preferredCoding(request.headers['accept-encoding']);
    let encoded = rendition.ready(coding);
    if (!encoded) {
      encoded = await rendition.encode(coding);
      if (key !== undefined) this.cache.resized(key);
    }
    return new CachedAnswer(remembered, rendition, encoded, request.headers['if-none-match']);
  }
}

/** An answer of the cache, ready to be written. */
export class CachedAnswer implements SelfWritingAnswer {
  private readonly entry: CacheEntry;
  private readonly status: CacheStatus;

  constructor(
    { entry, status }: Remembered,
    private readonly rendition: Rendition,
    private readonly encoded: Encoded,
    private readonly ifNoneMatch: string | undefined,
  ) {
    this.entry = entry;
    this.status = status;
  }

  /** Writes status, headers and body; 304 without a body when the client has these very bytes. */
  writeTo(response: ServerResponse): ServerResponse {
    const { coding, etag, parts, length } = this.encoded;
    response.setHeader('ETag', etag);
    // For caches of clients: theirs cannot know of a new event, so they must ask (and are told 304) each time.
    response.setHeader('Cache-Control', `private, max-age=${this.maxAge()}, no-cache`);
    response.setHeader('Vary', 'Authorization, Accept-Encoding');
    response.setHeader('X-Cache', this.status);
    if (this.entry.ttlMs > 0) response.setHeader('Age', String(this.entry.ageSeconds()));
    for (const name in this.rendition.headers) {
      response.setHeader(name, this.rendition.headers[name] ?? '');
    }
    if (this.ifNoneMatch !== undefined && matchesEtag(this.ifNoneMatch, etag)) {
      response.statusCode = 304;
      return response.end();
    }
    response.statusCode = 200;
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    if (coding !== 'identity') response.setHeader('Content-Encoding', coding);
    response.setHeader('Content-Length', length);
    for (let at = 0; at < parts.length - 1; at += 1) response.write(parts[at]);
    return response.end(parts.at(-1));
  }

  private maxAge(): number {
    return Math.round(this.entry.ttlMs / 1000);
  }
}

function pathOf(url = ''): string {
  const mark = url.indexOf('?');
  return mark === -1 ? url : url.slice(0, mark);
}
