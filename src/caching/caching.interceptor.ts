import { type ExecutionContext, Injectable, type NestInterceptor, type Type } from '@nestjs/common';
import { ModuleRef, Reflector } from '@nestjs/core';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { from, type Observable } from 'rxjs';
import type { CachedRead } from './cached-read';
import { HttpCache } from './http-cache';

/** Metadata key of a handler's CachedRead. */
export const CACHED = 'caching:read';

/**
 * Responds for @Cached handlers. One parser makes cache key and query, so that they cannot belong to different
 * requests.
 */
@Injectable()
export class CachingInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly modules: ModuleRef,
    private readonly http: HttpCache,
  ) {}

  intercept(context: ExecutionContext): Observable<unknown> {
    const type = this.reflector.get<Type<CachedRead>>(CACHED, context.getHandler());
    const read = this.modules.get(type, { strict: false });
    const http = context.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    return from(
      this.http.respond(read, read.parse(request), request, http.getResponse<ServerResponse>()),
    );
  }
}
