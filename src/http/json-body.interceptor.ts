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
 * Run after the guards, so that a request without a token causes no reading of megabytes, and before the pipes. Errors
 * are those of BodyReader.
 */

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

/** Reads an optional JSON body; none means `{}`. */
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
 * Reads the bytes for routes that parse (JsonBodyInterceptor) with a permit: values take several times the memory of
 * their text, and waiting requests must be small.
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
