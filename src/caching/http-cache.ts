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
import type { Encoded, Representation } from './cache-entry';
import type { CachedRead, ReadDescription } from './cached-read';
import { type Loaded, ResponseCache } from './response-cache';
import { matchesEtag, readPolicyOf } from './cache-control';

/** Memory for compression up to this is not counted. */
const SMALL_ENCODING_BYTES = 256 * 1024;

/** Metadata key of a handler's CachedRead. */
export const CACHED = 'caching:read';

/**
 * Caches the responses of this GET handler by the provider `read`. The handler only declares route, parameters and
 * documentation; it is never called.
 */
export const Cached = (read: Type<CachedRead>): MethodDecorator =>
  applyDecorators(SetMetadata(CACHED, read), UseInterceptors(CachingInterceptor));

/** HTTP side of the cache, shared by interceptor and fast route so that they cannot differ. */
@Injectable()
export class HttpCache {
  constructor(
    private readonly cache: ResponseCache,
    private readonly memory: ResponseMemory,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Responds until the deadline of the request or its client's disconnect. */
  async respond<D extends ReadDescription>(
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
    let representation = entry.representation(description.variant);
    if (!representation) {
      representation = entry.render(description.variant, read.render(entry.rest, description));
      if (key !== undefined) this.cache.resized(key);
    }
    const coding = preferredCoding(request.headers['accept-encoding']);
    let encoded = representation.ready(coding);
    if (!encoded) {
      encoded = await this.encode(representation, coding, response);
      if (key !== undefined) this.cache.resized(key);
    }
    return new CachedResponse(loaded, representation, encoded, request.headers['if-none-match']);
  }

  /** Falls back to identity when no memory is left to compress a large response. */
  private async encode(
    representation: Representation,
    coding: Coding,
    response: ServerResponse,
  ): Promise<Encoded> {
    const bytes = representation.encodingBytes(coding);
    if (bytes <= SMALL_ENCODING_BYTES) return representation.encode(coding);
    const reservation = this.memory.tryReserve(bytes);
    if (!reservation) return representation.encode('identity');
    try {
      const encoded = await representation.encode(coding);
      reservation.resize(encoded.length);
      reservation.holdFor(response);
      return encoded;
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
    representation: Representation,
    encoded: Encoded,
    ifNoneMatch: string | undefined,
  ) {
    const isNotModified = matchesEtag(ifNoneMatch, encoded.etag);
    this.statusCode = isNotModified ? 304 : 200;
    this.parts = isNotModified ? [] : encoded.parts;
    const isKept = key !== undefined;
    const maxAgeSeconds = isKept ? Math.round(entry.ttlMs / 1000) : 0;
    this.headers = [
      'X-Cache',
      status,
      'ETag',
      encoded.etag,
      'Cache-Control',
      // Clients' caches cannot know of a new event: they must revalidate each time, and get 304.
      `private, max-age=${maxAgeSeconds}, no-cache`,
      'Vary',
      'Authorization, Accept-Encoding',
      ...(isKept ? ['Age', String(entry.ageSeconds())] : []),
      ...representation.headers,
      ...(isNotModified ? [] : encoded.headers),
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
 * Responds for @Cached handlers. One parser makes cache key and query, so that they cannot belong to different
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
      this.cache.respond(read, read.parse(request), request, http.getResponse<ServerResponse>()),
    );
  }
}
