import { Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { AUTH_FAILURE_REASONS, AuthenticationError, type AuthFailureReason } from './challenge';

/** Counts requests and sockets that were not authenticated, by reason. */
@Injectable()
export class AuthFailures {
  private readonly counts = Object.fromEntries(
    AUTH_FAILURE_REASONS.map((reason) => [reason, 0]),
  ) as Record<AuthFailureReason, number>;
  /** Headers of counted requests: each call of a batch is refused, and all calls share the headers of their request. */
  private readonly counted = new WeakSet<object>();

  /** Counts a request once, however many of its calls fail; other errors are not counted. */
  note({ headers }: Pick<IncomingMessage, 'headers'>, error: unknown): void {
    if (!(error instanceof AuthenticationError) || this.counted.has(headers)) return;
    this.counted.add(headers);
    this.counts[error.reason] += 1;
  }

  /** Since the start. */
  statistics(): Readonly<Record<AuthFailureReason, number>> {
    return this.counts;
  }
}
