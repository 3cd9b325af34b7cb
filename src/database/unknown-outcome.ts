import { AppError } from '../errors/app-error';
import { isUnavailable, isRefusedConnection } from './database-errors';

/** Errors of commits that PostgreSQL did not answer. */
const unanswered = new WeakSet<object>();

/**
 * To be called with what a commit under way failed with, which is returned. When PostgreSQL has refused it, nothing was
 * stored; when it was the connection that ended, or nobody answered in time, it may have been stored all the same.
 */
export function commitFailed(error: unknown): unknown {
  const isUnanswered = isUnavailable(error) || isRefusedConnection(error);
  if (isUnanswered && typeof error === 'object' && error !== null) unanswered.add(error);
  return error;
}

/** Whether nobody can tell if what failed with this was stored; an AppError is asked about its cause. */
export function isOutcomeUnknown(error: unknown): boolean {
  const reason = error instanceof AppError ? (error.cause ?? error) : error;
  return typeof reason === 'object' && reason !== null && unanswered.has(reason);
}
