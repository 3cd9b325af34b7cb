import {
  applyDecorators,
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { type Observable, of } from 'rxjs';
import { principalOfContext } from '../../auth/principal';
import { LimitConcurrency } from '../../concurrency/fair-scheduler';
import { LargeBodyInterceptor } from '../../concurrency/large-body-limiter';
import {
  BODY_IS_READ,
  BodyBytesInterceptor,
  type BodyRequest,
  requireJson,
} from '../../http/body-reader';
import type { WritableResponse } from '../../http/http-server.adapter';
import { isNdjson } from '../../http/ndjson-body';
import { measureToFirstByte } from '../../http/request-times';
import { EventIngest } from '../ingest/event-ingest';
import { AuditService } from '../write/audit.service';
import { EventListInterceptor } from './event-body';

/**
 * Reads the body of a bulk request, in this order:
 *
 * 1. NDJSON bodies leave: they are read line by line, with their own limits.
 * 2. Bytes are read without a permit, as clients may be slow; text is a fraction of its parsed values.
 * 3. A large body waits for its permit among the large ones, without an ordinary permit.
 * 4. The request waits for its ordinary permit.
 * 5. Bytes are parsed, a batch of CloudEvents as a native body, and the number of events is checked before validation.
 */
export function BulkBody(): MethodDecorator {
  return applyDecorators(
    UseInterceptors(NdjsonInterceptor, BodyBytesInterceptor, LargeBodyInterceptor),
    LimitConcurrency(),
    UseInterceptors(EventListInterceptor, BulkSizeInterceptor),
  );
}

/** Checks the size of a bulk body before validation: the violations of a million elements take seconds. */
@Injectable()
class BulkSizeInterceptor implements NestInterceptor {
  constructor(private readonly audit: AuditService) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const body: unknown = context.switchToHttp().getRequest<Request>().body;
    this.audit.requireBulkSize((body as { events?: unknown } | null)?.events);
    return next.handle();
  }
}

const WRITTEN: WritableResponse = { writeTo: (response) => response };

const NDJSON_ALTERNATIVE = ', or as application/x-ndjson with one event a line';

/** Handles NDJSON bodies on a route whose handler takes one JSON document. */
@Injectable()
class NdjsonInterceptor implements NestInterceptor {
  constructor(private readonly ingest: EventIngest) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    const contentType = request.headers['content-type'];
    if (!isNdjson(contentType)) {
      if (!request[BODY_IS_READ]) requireJson(contentType, NDJSON_ALTERNATIVE);
      return next.handle();
    }
    const response = http.getResponse<Response>();
    measureToFirstByte(response); // receipts come as long as lines do
    await this.ingest.serve(principalOfContext(context), request, response);
    return of(WRITTEN);
  }
}
