import { applyDecorators, UseGuards, UseInterceptors } from '@nestjs/common';
import { ConcurrencyGuard } from './concurrency.guard';
import { ConcurrencyInterceptor } from './concurrency.interceptor';

/**
 * Permit, deadline, and refusal at once when the queue is full. Above the interceptors that read the body, so that a
 * slow sender holds no permit.
 */
export function LimitConcurrency(): MethodDecorator {
  return applyDecorators(UseGuards(ConcurrencyGuard), UseInterceptors(ConcurrencyInterceptor));
}
