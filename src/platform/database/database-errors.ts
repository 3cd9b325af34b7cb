import { AppError, internalError } from '../errors/app-error';

/** SQLSTATE classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNAVAILABLE_CLASSES = new Set(['08', '53', '58']);
const UNAVAILABLE_CODES = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
  '25006', // read_only_sql_transaction: the primary became a standby
]);
const RETRYABLE_CODES = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
]);
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
const UNIQUE_VIOLATION = '23505';
/** Errors of pg and pg-pool without a code. */
const CONNECTION_MESSAGES =
  /timeout exceeded when trying to connect|Connection terminated|not queryable|connection error|Cannot use a pool after|Query read timeout/;

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

/** Recognizes an unavailable database, as opposed to a refused statement. */
export function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  if (UNAVAILABLE_CODES.has(code) || NETWORK_CODES.has(code)) return true;
  if (/^[0-9A-Z]{5}$/.test(code)) return UNAVAILABLE_CLASSES.has(code.slice(0, 2));
  if (error instanceof AggregateError) return error.errors.some(isUnavailable);
  return error instanceof Error && CONNECTION_MESSAGES.test(error.message);
}

/** A session lacks settings that results depend on; the message names the statements that set them. */
export class SessionSettingsError extends Error {
  override readonly name = 'SessionSettingsError';
}

/** Recognizes a server that is not set up for the service: login, database, a table or a setting is missing. */
export function isMisconfigured(error: unknown): boolean {
  if (error instanceof SessionSettingsError) return true;
  const code = codeOf(error);
  return code.startsWith('28') || code.startsWith('3D') || code === '42P01';
}

/** Recognizes a missing column (SQLSTATE 42703), as on a replica without the latest migration. */
export function isMissingColumn(error: unknown): boolean {
  return codeOf(error) === '42703';
}

/** Recognizes a connection ended or refused by the server: no statement had an effect. */
export function isRefusedConnection(error: unknown): boolean {
  return (error as { severity?: unknown } | null)?.severity === 'FATAL';
}

/** Recognizes a row lock held by another transaction beyond `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === '55P03';
}

/** Recognizes a cancelled statement (SQLSTATE query_canceled): by a timeout, or by a cancel request. */
export function isCancelled(error: unknown): boolean {
  return codeOf(error) === '57014';
}

/** Recognizes a transaction that lost a race and may be run again. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE_CODES.has(codeOf(error));
}

/** Recognizes a row without a partition (SQLSTATE 23514 of tuple routing, which names no constraint). */
export function isMissingPartition(error: unknown): boolean {
  const { constraint } = (error ?? {}) as { constraint?: unknown };
  return codeOf(error) === '23514' && constraint === undefined;
}

/**
 * Translates a database fault: DATABASE_UNAVAILABLE with `Retry-After`, REQUEST_TIMEOUT when cancelled, CONFLICT for an
 * existing unique row, else INTERNAL. `cause` keeps the original for the log.
 */
export function toDatabaseError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const unavailable = (detail: string): AppError =>
    new AppError('DATABASE_UNAVAILABLE', detail, { retryAfterSeconds: 2, cause: error });
  if (isUnavailable(error) || isRefusedConnection(error) || isRetryable(error)) {
    return unavailable('The database cannot be used right now.');
  }
  if (isLockTimeout(error)) return unavailable('The organization is locked in the database.');
  if (isCancelled(error)) {
    return new AppError('REQUEST_TIMEOUT', 'The database did not answer in time.', {
      cause: error,
    });
  }
  if (codeOf(error) === UNIQUE_VIOLATION) {
    return new AppError('CONFLICT', 'The same thing was stored by another request.', {
      cause: error,
    });
  }
  return internalError(error);
}
