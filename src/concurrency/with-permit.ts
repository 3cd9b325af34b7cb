import type { CallHandler } from '@nestjs/common';
import { defer, lastValueFrom, type Observable } from 'rxjs';

/** What stands behind an interceptor, done by `run` once it is its turn. */
export function withPermit(
  run: (work: () => Promise<unknown>) => Promise<unknown>,
  next: CallHandler,
): Observable<unknown> {
  return defer(() => run(() => lastValueFrom(next.handle(), { defaultValue: undefined })));
}
