import { AppError } from '../platform/errors/app-error';

const REALM = 'Bearer realm="audit-server"';

/** Why a request was not authenticated: the label of a metric, so few and none from a token. */
export const AUTH_FAILURE_REASONS = [
  'missing',
  'malformed',
  'signature',
  'unknown_key',
  'algorithm',
  'expired',
  'ticket_used',
  'not_yet_valid',
  'issuer',
  'audience',
  'claims',
  'keys_unavailable',
] as const;

export type AuthFailureReason = (typeof AUTH_FAILURE_REASONS)[number];

/** UNAUTHENTICATED, or AUTHENTICATION_UNAVAILABLE, with the reason for operators. */
export class AuthenticationError extends AppError {
  constructor(
    code: 'UNAUTHENTICATED' | 'AUTHENTICATION_UNAVAILABLE',
    readonly reason: AuthFailureReason,
    detail: string,
    options: ConstructorParameters<typeof AppError>[2],
  ) {
    super(code, detail, options);
  }
}

/** UNAUTHENTICATED without a token: by RFC 6750 this challenge names no error. */
export function tokenRequired(): AppError {
  return new AuthenticationError('UNAUTHENTICATED', 'missing', 'A bearer token is required.', {
    headers: { 'WWW-Authenticate': REALM },
  });
}

/**
 * UNAUTHENTICATED for a refused token. `description` is quoted in a header: this service's text without quotes and
 * backslashes, never that of the token or a library.
 */
export function invalidToken(
  reason: AuthFailureReason,
  description: string,
  cause?: unknown,
): AppError {
  return new AuthenticationError('UNAUTHENTICATED', reason, description, {
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
  return new AuthenticationError(
    'AUTHENTICATION_UNAVAILABLE',
    'keys_unavailable',
    'The keys that verify tokens cannot be had at the moment.',
    { retryAfterSeconds: 5, cause },
  );
}
