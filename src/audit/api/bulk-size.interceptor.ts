import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Request } from 'express';
import type { Observable } from 'rxjs';
import { BulkEvents } from '../write/new-events';

/** Checks the size of a bulk body before validation: the violations of a million elements take seconds. */
@Injectable()
export class BulkSizeInterceptor implements NestInterceptor {
  constructor(private readonly bulk: BulkEvents) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const body: unknown = context.switchToHttp().getRequest<Request>().body;
    this.bulk.requireSize((body as { events?: unknown } | null)?.events);
    return next.handle();
  }
}
