import { type CanActivate, Injectable } from '@nestjs/common';
import { FairTurns } from './fair-turns';

/** Admission: refuses a request at once, before its body is read, when there is not even room to wait. */
@Injectable()
export class ConcurrencyGuard implements CanActivate {
  constructor(private readonly turns: FairTurns) {}

  canActivate(): boolean {
    this.turns.requireRoom();
    return true;
  }
}
