import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Request } from 'express';
import type { Observable } from 'rxjs';
import { auditConfig } from '../../platform/config/audit.config';
import { validationFailed } from '../../platform/errors/app-error';

/** Refuses a list of more events than BULK_MAX_EVENTS; what is not a list is for the validator to refuse. */
export function requireBulkSize(events: unknown, maxEvents: number): void {
  if (!Array.isArray(events) || events.length <= maxEvents) return;
  const message = `must be at most ${maxEvents} elements, not ${events.length}`;
  throw validationFailed([{ path: 'events', message }]);
}

/** Looks at the size of a bulk body before its elements are validated: naming the faults of a million takes seconds. */
@Injectable()
export class BulkSizeInterceptor implements NestInterceptor {
  constructor(@Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const body: unknown = context.switchToHttp().getRequest<Request>().body;
    requireBulkSize((body as { events?: unknown } | null)?.events, this.limits.bulkMaxEvents);
    return next.handle();
  }
}
