import type { CallHandler } from '@nestjs/common';
import { defer, lastValueFrom, type Observable } from 'rxjs';
import type { FairTurns, TurnRequest } from './fair-turns';

/** What stands behind an interceptor, once it is its turn. */
export function handleInTurn(
  turns: FairTurns,
  turn: TurnRequest,
  next: CallHandler,
): Observable<unknown> {
  return defer(() =>
    turns.run(turn, () => lastValueFrom(next.handle(), { defaultValue: undefined })),
  );
}
