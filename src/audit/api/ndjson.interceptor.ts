import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { type Observable, of } from 'rxjs';
import { principalOfContext } from '../../auth/principal';
import type { WritableResponse } from '../../http/http-server.adapter';
import { isNdjson } from '../../http/ndjson-body';
import { measureToFirstByte } from '../../http/request-context';
import { EventIngest } from '../ingest/event-ingest';

const WRITTEN: WritableResponse = { writeTo: (response) => response };

/** Handles NDJSON bodies on a route whose handler takes one JSON document. */
@Injectable()
export class NdjsonInterceptor implements NestInterceptor {
  constructor(private readonly ingest: EventIngest) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<Request>();
    if (!isNdjson(request.headers['content-type'])) return next.handle();
    const response = http.getResponse<Response>();
    measureToFirstByte(response); // receipts come as long as lines do
    await this.ingest.serve(principalOfContext(context), request, response);
    return of(WRITTEN);
  }
}
