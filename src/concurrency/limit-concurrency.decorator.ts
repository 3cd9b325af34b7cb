import { applyDecorators, UseGuards, UseInterceptors } from '@nestjs/common';
import { ConcurrencyGuard } from './concurrency.guard';
import { ConcurrencyInterceptor } from './concurrency.interceptor';

/**
 * The handler waits for a fair turn, has a deadline, and is refused at once when too much waits. Stands above the
 * interceptors that read the body: a client that sends slowly holds no turn.
 */
export function LimitConcurrency(): MethodDecorator {
  return applyDecorators(UseGuards(ConcurrencyGuard), UseInterceptors(ConcurrencyInterceptor));
}
