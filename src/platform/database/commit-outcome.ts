import type { ClientBase } from 'pg';
import { isRefusedConnection, isUnavailable } from './database-errors';
import { AppError } from '../errors/app-error';

/** Reason of an unknown outcome; `wait_interrupted`: of the wait for a synchronous standby, `deadline`: of the caller. */
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
 * Returns the error of a failed commit: a refusal by PostgreSQL unchanged, an error of unknown outcome for a lost
 * connection or a missing answer.
 */
export function commitFailed(error: unknown): unknown {
  const isUnanswered = isUnavailable(error) || isRefusedConnection(error);
  return isUnanswered ? unknownOutcome('connection_lost', error) : error;
}

/** Tells whether rows may have been stored in spite of this error. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownReasonOf(error) !== undefined;
}

/** Returns the reason of an unknown outcome; undefined for other errors. */
export function unknownReasonOf(error: unknown): UnknownReason | undefined {
  return error instanceof AppError ? reasons.get(error) : undefined;
}

/** Function of PostgreSQL that waits for synchronous standbys. Unlike the message, its name is not translated. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';

const interrupted = new WeakSet<ClientBase>();

/**
 * Marks a connection when a commit stops waiting for its synchronous standby (pg_cancel_backend, a cancel request), of
 * which PostgreSQL only warns. One listener for each connection costs statements nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Tells whether a connection is marked, and removes the mark. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}
