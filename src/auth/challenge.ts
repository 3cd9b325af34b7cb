import { AppError } from '../platform/errors/app-error';

const REALM = 'Bearer realm="audit-server"';

/** UNAUTHENTICATED without a token: by RFC 6750 this challenge names no error. */
export function tokenRequired(): AppError {
  return new AppError('UNAUTHENTICATED', 'A bearer token is required.', {
    headers: { 'WWW-Authenticate': REALM },
  });
}

/**
 * UNAUTHENTICATED for a refused token. `description` is quoted in a header: this service's text without quotes and
 * backslashes, never that of the token or a library.
 */
export function invalidToken(description: string, cause?: unknown): AppError {
  return new AppError('UNAUTHENTICATED', description, {
    headers: {
      'WWW-Authenticate': `${REALM}, error="invalid_token", error_description="${description}"`,
    },
    cause,
  });
}

/** FORBIDDEN for missing scopes; the challenge lists all that are needed. */
export function insufficientScope(needed: readonly string[]): AppError {
  const scope = needed.join(' ');
  const label = needed.length === 1 ? 'scope' : 'scopes';
  return new AppError('FORBIDDEN', `This needs the ${label} ${scope}.`, {
    headers: { 'WWW-Authenticate': `${REALM}, error="insufficient_scope", scope="${scope}"` },
  });
}

/**
 * AUTHENTICATION_UNAVAILABLE: without keys the token may be good or bad, thus 503, not 401. Only the log shows the
 * cause.
 */
export function keysUnavailable(cause: unknown): AppError {
  return new AppError(
    'AUTHENTICATION_UNAVAILABLE',
    'The keys that verify tokens cannot be had at the moment.',
    { retryAfterSeconds: 5, cause },
  );
}
