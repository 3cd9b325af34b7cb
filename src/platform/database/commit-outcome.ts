import type { ClientBase } from 'pg';
import { isRefusedConnection, isUnavailable } from './database-errors';
import { AppError } from '../errors/app-error';

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

/** Function of PostgreSQL that waits for synchronous standbys, untranslated unlike the message. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';

const interrupted = new WeakSet<ClientBase>();

/**
 * Records when a commit stops waiting for its synchronous standby (pg_cancel_backend, a cancel request), of which
 * PostgreSQL only warns. One listener per connection costs statements nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Tells whether a commit on `client` stopped waiting; resets that. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}
