import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { serverConfig } from '../platform/config/server.config';
import { ResponseMemory } from '../http/response-memory';
import type { WritableResponse } from '../http/http-server.adapter';
import { type Coding, preferredCoding } from '../http/negotiation';
import { requestSignal } from '../http/request-signal';
import { matchesEtag, readPolicyOf } from './cache-control';
import type { CachedRead, ReadDescription } from './cached-read';
import type { Encoded, Representation } from './representation';
import { type Loaded, ResponseCache } from './response-cache';

/**
 * The HTTP side of the cache: which directives of a request count, which headers an answer has, and which bytes. The
 * interceptor and the door in front of express both answer through this, so they cannot differ.
 */
@Injectable()
export class HttpCache {
  constructor(
    private readonly cache: ResponseCache,
    private readonly memory: ResponseMemory,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Answers a read, within the deadline of the request and while its client is there. */
  async answer<D extends ReadDescription>(
    read: CachedRead<D>,
    description: D,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<CachedResponse> {
    const remembered = await this.cache.getOrLoad(read, description, {
      path: pathOf(request.url),
      policy: readPolicyOf(request.headers),
      signal: () => requestSignal(response, this.config.requestTimeoutMs),
    });
    const { entry, key } = remembered;
    entry.reservation?.holdFor(response);
    let rendition = entry.representation(description.variant);
    if (!rendition) {
      rendition = entry.render(description.variant, read.render(entry.rest, description));
      if (key !== undefined) this.cache.resized(key);
    }
    const coding = preferredCoding(request.headers['accept-encoding']);
    let encoded = rendition.ready(coding);
    if (!encoded) {
      encoded = await this.encode(rendition, coding, response);
      if (key !== undefined) this.cache.resized(key);
    }
    return new CachedResponse(remembered, rendition, encoded, request.headers['if-none-match']);
  }

  /** The answer in this coding; as it is when it is large and there is no memory left to compress it. */
  private async encode(
    rendition: Representation,
    coding: Coding,
    response: ServerResponse,
  ): Promise<Encoded> {
    const bytes = rendition.encodingBytes(coding);
    if (bytes <= SMALL_ENCODING_BYTES) return rendition.encode(coding);
    const reservation = this.memory.tryReserve(bytes);
    if (!reservation) return rendition.encode('identity');
    try {
      const encoded = await rendition.encode(coding);
      reservation.resize(encoded.length);
      reservation.holdFor(response);
      return encoded;
    } finally {
      reservation.release();
    }
  }
}

/** An answer of the cache, ready to be written. */
export class CachedResponse implements WritableResponse {
  readonly statusCode: 200 | 304;
  /** Name, value, name, value …. */
  readonly headers: readonly string[];
  readonly parts: readonly Buffer[];

  constructor(
    { entry, status, key }: Loaded,
    rendition: Representation,
    encoded: Encoded,
    ifNoneMatch: string | undefined,
  ) {
    const isKnown = ifNoneMatch !== undefined && matchesEtag(ifNoneMatch, encoded.etag);
    this.statusCode = isKnown ? 304 : 200;
    this.parts = isKnown ? [] : encoded.parts;
    const headers = ['X-Cache', status, 'ETag', encoded.etag];
    const isKept = key !== undefined;
    headers.push('Cache-Control', cacheControlOf(isKept ? entry.ttlMs : 0), 'Vary', VARY);
    if (isKept) headers.push('Age', String(entry.ageSeconds()));
    headers.push(...rendition.headers);
    if (!isKnown) headers.push(...encoded.headers);
    this.headers = headers;
  }

  /** Writes status, headers and body; 304 without a body when the client has these very bytes. */
  writeTo(response: ServerResponse): ServerResponse {
    const { headers, parts } = this;
    response.statusCode = this.statusCode;
    for (let at = 0; at < headers.length; at += 2) {
      response.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
    }
    for (let at = 0; at < parts.length - 1; at += 1) response.write(parts[at]);
    return response.end(parts.at(-1));
  }
}

/** Less than this is compressed without being counted. */
const SMALL_ENCODING_BYTES = 256 * 1024;

const VARY = 'Authorization, Accept-Encoding';

/** For caches of clients: theirs cannot know of a new event, so they must ask (and are told 304) each time. */
function cacheControlOf(ttlMs: number): string {
  return `private, max-age=${Math.round(ttlMs / 1000)}, no-cache`;
}

function pathOf(url = ''): string {
  const mark = url.indexOf('?');
  return mark === -1 ? url : url.slice(0, mark);
}
