import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { ModuleRef, Reflector } from '@nestjs/core';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { from, type Observable } from 'rxjs';
import { HttpCache } from './http-cache';
import { CACHED } from './cached-metadata';
import type { CachedRead } from './cached-read';

/**
 * The door to the cache on the ordinary path, for handlers with @Cached. What the read describes, the read reads: were
 * it the handler, which looks at the request again by other means, key and answer could be those of two requests. The
 * handler is left with what cannot be described, and says why.
 */
@Injectable()
export class CachingInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly modules: ModuleRef,
    private readonly http: HttpCache,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const type = this.reflector.get<Type<CachedRead>>(CACHED, context.getHandler());
    const read = this.modules.get(type, { strict: false });
    const http = context.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    const description = read.parse(request);
    if (!description) return next.handle();
    return from(this.http.answer(read, description, request, http.getResponse<ServerResponse>()));
  }
}
