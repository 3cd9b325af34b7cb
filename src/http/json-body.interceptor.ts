import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Response } from 'express';
import type { Observable } from 'rxjs';
import { BODY_IS_READ, BodyReader, type BodyRequest, hasBody } from './body-reader';

/*
 * Interceptors that read the body of a route: after the guards, so that no client without a token makes the service read
 * megabytes, and before the pipes. They fail as BodyReader does.
 */

/** Reads a JSON body. */
@Injectable()
export class JsonBodyInterceptor implements NestInterceptor {
  constructor(private readonly reader: BodyReader) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) {
      request.body = await this.reader.readBody(request, http.getResponse<Response>());
    }
    return next.handle();
  }
}

/** Reads a JSON body that may be left out, which means an empty object. */
@Injectable()
export class OptionalJsonBodyInterceptor implements NestInterceptor {
  constructor(private readonly reader: BodyReader) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) {
      const response = http.getResponse<Response>();
      request.body = hasBody(request) ? await this.reader.readBody(request, response) : {};
    }
    return next.handle();
  }
}

/**
 * Reads the bytes of a JSON body and no more, for routes that parse them (JsonBodyInterceptor) once the request has its
 * permit: values take several times the memory of their text, and requests that wait are to be small.
 */
@Injectable()
export class BodyBytesInterceptor implements NestInterceptor {
  constructor(private readonly reader: BodyReader) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) await this.reader.readBytes(request, http.getResponse<Response>());
    return next.handle();
  }
}
