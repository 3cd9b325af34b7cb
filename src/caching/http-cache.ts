import {
  applyDecorators,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  type OnApplicationBootstrap,
  SetMetadata,
  type Type,
  UseInterceptors,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { DiscoveryService, MetadataScanner, ModuleRef, Reflector } from '@nestjs/core';
import { from, type Observable } from 'rxjs';
import { serverConfig } from '../platform/config/settings';
import { ResponseMemory } from '../http/response-memory';
import { FastRoutes, writeFastProblem } from '../http/fast-routes';
import type { WritableResponse } from '../http/http-server.adapter';
import { type Coding, plainlyAcceptsJson, preferredCoding } from '../http/negotiation';
import { requestSignal, writeStamped } from '../http/request-context';
import { AppError } from '../platform/errors/app-error';
import type { Encoded, Representation } from './cache-entry';
import type { CachedRead, ReadDescription } from './cached-read';
import { DEFAULT_READ_POLICY, type Loaded, type ReadPolicy, ResponseCache } from './response-cache';

/** Memory for compression up to this is not counted. */
const SMALL_ENCODING_BYTES = 256 * 1024;

/** Metadata key of a handler's CachedRead. */
const CACHED = 'caching:read';

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

/**
 * Fast route before express for every @Cached handler. Invalid or unusual requests fall through to the ordinary path.
 */
@Injectable()
export class CachedRoutes implements OnApplicationBootstrap {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly modules: ModuleRef,
    private readonly routes: FastRoutes,
    private readonly cache: HttpCache,
  ) {}

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        const type = handler && this.reflector.get<Type<CachedRead> | undefined>(CACHED, handler);
        if (!type) continue;
        const read = this.modules.get(type, { strict: false });
        this.routes.registerHandler(metatype as Type, name, (request, response, fallThrough) =>
          this.handle(read, request, response, fallThrough),
        );
      }
    }
  }

  private handle(
    read: CachedRead,
    request: IncomingMessage,
    response: ServerResponse,
    fallThrough: () => void,
  ): void {
    if (!plainlyAcceptsJson(request.headers.accept)) return fallThrough();
    let description: ReadDescription;
    try {
      description = read.parse(request);
    } catch (error) {
      // The ordinary path refuses it again, and renders the error. Anything else is a defect.
      if (error instanceof AppError || error instanceof URIError) return fallThrough();
      throw error;
    }
    this.cache
      .respond(read, description, request, response)
      .then(({ statusCode, headers, parts }) =>
        writeStamped(request, response, statusCode, headers, parts),
      )
      .catch((error: unknown) =>
        // Vary as the compression of the ordinary path sets it.
        writeFastProblem(error, request, response, ['Vary', 'Accept-Encoding']),
      );
  }
}

/** List member up to the next comma: a token, its argument may be quoted. Junk matches without a name: linear time. */
const DIRECTIVE = /[\s,]*(?:([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^,]*))?)?[^,]*/g;

/** Larger numbers count as this (RFC 9111, section 1.2.2). */
const MAX_SECONDS = 2 ** 31;

const NO_CACHE: ReadPolicy = Object.freeze({ noCache: true, noStore: false });

/**
 * What a request's Cache-Control allows (RFC 9111, section 5.2.1). Of contradictory directives the strictest counts;
 * unknown ones do not, and an invalid number is 0, the strictest.
 */
export function readPolicyOf(headers: IncomingHttpHeaders): ReadPolicy {
  const text = headers['cache-control'];
  if (text === undefined) {
    if (headers.pragma === undefined) return DEFAULT_READ_POLICY;
    // Pragma counts only without Cache-Control (RFC 7234, section 5.4).
    return policyIn(headers.pragma).noCache ? NO_CACHE : DEFAULT_READ_POLICY;
  }
  const policy = policyIn(text);
  // No cached response is that young; a client may accept a stale one (RFC 9111, section 5.2.1.1).
  if (policy.maxAgeSeconds === 0 && !policy.maxStaleSeconds) policy.noCache = true;
  return policy;
}

function policyIn(directives: string): ReadPolicy {
  const policy: ReadPolicy = { noCache: false, noStore: false };
  for (const [, directive, value] of directives.matchAll(DIRECTIVE)) {
    const name = directive?.toLowerCase();
    if (name === 'no-cache') policy.noCache = true;
    else if (name === 'no-store') policy.noStore = true;
    else if (name === 'max-age') {
      policy.maxAgeSeconds = Math.min(policy.maxAgeSeconds ?? Infinity, secondsOf(value));
    } else if (name === 'max-stale') {
      const seconds = value === undefined ? Infinity : secondsOf(value);
      policy.maxStaleSeconds = Math.min(policy.maxStaleSeconds ?? Infinity, seconds);
    }
  }
  return policy;
}

function secondsOf(value = ''): number {
  const [, , digits] = /^("?)(\d+)\1\s*$/.exec(value) ?? [];
  return digits === undefined ? 0 : Math.min(Number(digits), MAX_SECONDS);
}

/** One entity tag of a list, weak or not, with the comma or the end after it; may be empty. */
const LISTED_TAG = /[ \t]*(?:(?:W\/)?("[^"]*")[ \t]*)?(?:,|$)/y;

/** Weak comparison (RFC 9110, section 13.1.2). Ignores text after a syntax error: a full response is never wrong. */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch === etag || ifNoneMatch.trim() === '*') return true;
  const opaque = etag.startsWith('W/') ? etag.slice(2) : etag;
  LISTED_TAG.lastIndex = 0;
  while (LISTED_TAG.lastIndex < ifNoneMatch.length) {
    const [, tag] = LISTED_TAG.exec(ifNoneMatch) ?? [];
    if (tag === opaque) return true;
    if (LISTED_TAG.lastIndex === 0) return false; // no match
  }
  return false;
}
