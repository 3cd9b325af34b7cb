import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { FairScheduler } from './fair-scheduler';
import { type FlowOwner, flowKey } from './flow';

/** Refuses a request before its body is read when the queue is full. */
@Injectable()
export class ConcurrencyGuard implements CanActivate {
  constructor(private readonly scheduler: FairScheduler) {}

  canActivate(context: ExecutionContext): boolean {
    const { principal } = context.switchToHttp().getRequest<{ principal?: FlowOwner }>();
    this.scheduler.assertCapacity(principal ? flowKey(principal) : '');
    return true;
  }
}
