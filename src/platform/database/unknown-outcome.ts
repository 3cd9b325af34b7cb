import { AppError } from '../errors/app-error';
import { isUnavailable, isRefusedConnection } from './database-errors';

/**
 * Why a commit may not be stored: its connection was lost, its wait for a synchronous standby was interrupted, or it
 * was not answered before its caller's deadline.
 */
export type UnknownReason = 'connection_lost' | 'wait_interrupted' | 'deadline';

const RETRY_AFTER_SECONDS = 2;
const reasons = new WeakMap<object, UnknownReason>();

/** The error of a commit whose outcome is not known. */
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
 * The error to throw for an error of a commit under way: as it is when PostgreSQL has refused it; of unknown outcome
 * when the connection ended or nothing was answered in time.
 */
export function commitFailed(error: unknown): unknown {
  const isUnanswered = isUnavailable(error) || isRefusedConnection(error);
  return isUnanswered ? unknownOutcome('connection_lost', error) : error;
}

/** Whether this error leaves open what was stored. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownReasonOf(error) !== undefined;
}

/** The reason of that; undefined for every other error. */
export function unknownReasonOf(error: unknown): UnknownReason | undefined {
  return error instanceof AppError ? reasons.get(error) : undefined;
}
