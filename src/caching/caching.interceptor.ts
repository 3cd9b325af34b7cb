import { type ExecutionContext, Injectable, type NestInterceptor, type Type } from '@nestjs/common';
import { ModuleRef, Reflector } from '@nestjs/core';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { from, type Observable } from 'rxjs';
import { HttpCache } from './http-cache';
import { CACHED } from './cached-metadata';
import type { CachedRead } from './cached-read';

/**
 * Answers requests for handlers with @Cached, from the cache or from where the data is kept; the handler is never called.
 * One parser makes both the cache key and the query, so that they cannot be those of two different requests.
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
    const response = http.getResponse<ServerResponse>();
    return from(this.http.answer(read, read.parse(request), request, response));
  }
}
