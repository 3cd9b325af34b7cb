import { AppError } from '../errors/app-error';
import { isUnavailable, isRefusedConnection } from './database-errors';

/**
 * Reason of an unknown outcome: connection lost, wait for a synchronous standby interrupted, or caller's deadline
 * passed.
 */
export type UnknownReason = 'connection_lost' | 'wait_interrupted' | 'deadline';

const RETRY_AFTER_SECONDS = 2;
const reasons = new WeakMap<object, UnknownReason>();

/** Creates the error of a commit of unknown outcome. */
export function unknownOutcome(reason: UnknownReason, cause?: unknown): AppError {
  const error = new AppError(
    'DATABASE_UNAVAILABLE',
    'It is not known whether this was stored: the database has not confirmed the commit. Sending it again with the same ' +
      'Idempotency-Key or the same event ids is safe.',
    { retryAfterSeconds: RETRY_AFTER_SECONDS, cause },
  );
  reasons.set(error, reason);
  return error;
}

/**
 * Returns the error unchanged for a refusal of PostgreSQL, of unknown outcome for a lost connection or no answer in
 * time.
 */
export function commitFailed(error: unknown): unknown {
  const isUnanswered = isUnavailable(error) || isRefusedConnection(error);
  return isUnanswered ? unknownOutcome('connection_lost', error) : error;
}

/** Tells whether this error leaves open if rows were stored. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownReasonOf(error) !== undefined;
}

/** Returns that reason, undefined for other errors. */
export function unknownReasonOf(error: unknown): UnknownReason | undefined {
  return error instanceof AppError ? reasons.get(error) : undefined;
}
