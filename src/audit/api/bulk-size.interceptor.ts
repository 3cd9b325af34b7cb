import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Request } from 'express';
import type { Observable } from 'rxjs';
import { AuditService } from '../write/audit.service';

/** Checks the size of a bulk body before validation: the violations of a million elements take seconds. */
@Injectable()
export class BulkSizeInterceptor implements NestInterceptor {
  constructor(private readonly audit: AuditService) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const body: unknown = context.switchToHttp().getRequest<Request>().body;
    this.audit.requireBulkSize((body as { events?: unknown } | null)?.events);
    return next.handle();
  }
}
