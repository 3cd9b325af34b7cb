import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { FairTurns } from './fair-scheduler';
import { type LaneHolder, laneOf } from './flow';

/** Admission: refuses a request at once, before its body is read, when there is not even room to wait. */
@Injectable()
export class ConcurrencyGuard implements CanActivate {
  constructor(private readonly turns: FairTurns) {}

  canActivate(context: ExecutionContext): boolean {
    const { principal } = context.switchToHttp().getRequest<{ principal?: LaneHolder }>();
    this.turns.requireRoom(principal ? laneOf(principal) : '');
    return true;
  }
}
