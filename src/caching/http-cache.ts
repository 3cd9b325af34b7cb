import {
  applyDecorators,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  SetMetadata,
  type Type,
  UseInterceptors,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ModuleRef, Reflector } from '@nestjs/core';
import { from, type Observable } from 'rxjs';
import { serverConfig } from '../platform/config/settings';
import { ResponseMemory } from '../http/response-memory';
import type { WritableResponse } from '../http/http-server.adapter';
import { type Coding, preferredCoding } from '../http/negotiation';
import { requestSignal } from '../http/request-context';
import { spansOfResponse } from '../http/request-times';
import type { RenderedResponse, Representation } from './cache-entry';
import type { CachedRead, ReadDescription } from './cached-read';
import { type Loaded, ResponseCache } from './response-cache';
import { matchesEtag, readPolicyOf } from './cache-control';

/** Compression that takes less memory reserves none. */
const SMALL_ENCODING_BYTES = 256 * 1024;

/** Metadata key under which a handler has its CachedRead. */
export const CACHED = 'caching:read';

/**
 * Caches the responses of a GET handler, which the provider `read` makes. The handler only declares route, parameters
 * and documentation, and is never called.
 */
export const Cached = (read: Type<CachedRead>): MethodDecorator =>
  applyDecorators(SetMetadata(CACHED, read), UseInterceptors(CachingInterceptor));

/** HTTP semantics of the cache. Interceptor and fast route share it, so that their responses cannot differ. */
@Injectable()
export class HttpCache {
  constructor(
    private readonly cache: ResponseCache,
    private readonly memory: ResponseMemory,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /**
   * Prepares the response to a request, in the coding that its client prefers.
   * @throws what the read throws; the reason of the request's signal at its deadline, or when the client disconnects.
   */
  async prepare<D extends ReadDescription>(
    read: CachedRead<D>,
    description: D,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<CachedResponse> {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const loaded = await this.cache.getOrLoad(read, description, {
      path,
      policy: readPolicyOf(request.headers),
      signal: () => requestSignal(response, this.config.requestTimeoutMs),
      spans: spansOfResponse(response),
    });
    const { entry, key } = loaded;
    entry.reservation?.holdFor(response);
    let rendered = entry.response(description.variant);
    if (!rendered) {
      rendered = entry.render(description.variant, read.render(entry.tailData, description));
      if (key !== undefined) this.cache.remeasure(key);
    }
    const coding = preferredCoding(request.headers['accept-encoding']);
    let representation = rendered.ready(coding);
    if (!representation) {
      representation = await this.encode(rendered, coding, response);
      if (key !== undefined) this.cache.remeasure(key);
    }
    const ifNoneMatch = request.headers['if-none-match'];
    return new CachedResponse(loaded, rendered.headers, representation, ifNoneMatch);
  }

  /** Compresses a response; a large one stays in identity when no memory is left to compress it. */
  private async encode(
    rendered: RenderedResponse,
    coding: Coding,
    response: ServerResponse,
  ): Promise<Representation> {
    const bytes = rendered.encodingBytes(coding);
    if (bytes <= SMALL_ENCODING_BYTES) return rendered.encode(coding);
    const reservation = this.memory.tryReserve(bytes);
    if (!reservation) return rendered.encode('identity');
    try {
      const representation = await rendered.encode(coding);
      reservation.resize(representation.length);
      reservation.holdFor(response);
      return representation;
    } finally {
      reservation.release();
    }
  }
}

/** Cached response, ready to be written. */
class CachedResponse implements WritableResponse {
  readonly statusCode: 200 | 304;
  /** Name, value, name, value …. */
  readonly headers: readonly string[];
  readonly parts: readonly Buffer[];

  constructor(
    { entry, status, key }: Loaded,
    readerHeaders: readonly string[],
    { etag, parts, headers }: Representation,
    ifNoneMatch: string | undefined,
  ) {
    const isNotModified = matchesEtag(ifNoneMatch, etag);
    this.statusCode = isNotModified ? 304 : 200;
    this.parts = isNotModified ? [] : parts;
    const isKept = key !== undefined;
    const maxAgeSeconds = isKept ? Math.round(entry.ttlMs / 1000) : 0;
    this.headers = [
      'X-Cache',
      status,
      'ETag',
      etag,
      'Cache-Control',
      // A client's cache does not learn of new events, and has to revalidate each time; 304 makes that cheap.
      `private, max-age=${maxAgeSeconds}, no-cache`,
      'Vary',
      'Authorization, Accept-Encoding',
      ...(isKept ? ['Age', String(entry.ageSeconds())] : []),
      ...readerHeaders,
      ...(isNotModified ? [] : headers),
    ];
  }

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

/**
 * Responds for @Cached handlers. Cache key and query come from one parser, so that they cannot belong to different
 * requests.
 */
@Injectable()
export class CachingInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly modules: ModuleRef,
    private readonly cache: HttpCache,
  ) {}

  intercept(context: ExecutionContext): Observable<unknown> {
    const type = this.reflector.get<Type<CachedRead>>(CACHED, context.getHandler());
    const read = this.modules.get(type, { strict: false });
    const http = context.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    return from(
      this.cache.prepare(read, read.parse(request), request, http.getResponse<ServerResponse>()),
    );
  }
}
