/** One fault of the input: `path` as in `events[3].metadata.tags[0]`; `message` says what is allowed. */
export interface FieldError {
  path: string;
  message: string;
}

interface AppErrorOptions {
  /** Every fault of the input; shown to the caller. */
  errors?: FieldError[];
  /** Seconds; becomes `Retry-After`. */
  retryAfterSeconds?: number;
  /** Further response headers, such as `WWW-Authenticate` or `Allow`. */
  headers?: Record<string, string>;
  /** The original fault; logged, never shown. */
  cause?: unknown;
}

/**
 * A failure for the caller, independent of HTTP: each API renders it by its row of ERROR_TABLE. `detail` is shown, so
 * it must never hold a stack, SQL, a file path or a secret; those belong in `cause`.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly headers: Record<string, string>;

  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    // Without a stack, a tenth of the cost of a refusal: the place of a refusal is no help. Faults of our own are the
    // cause, which has a stack.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(detail, { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'AppError';
    this.code = code;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return ERROR_TABLE[this.code].status;
  }

  /** `detail` of the problem. */
  get detail(): string {
    return this.message;
  }
}

/** A 400 with each fault; the detail names the first one, so that a log line alone helps. */
export function validationFailed(errors: FieldError[]): AppError {
  const [first] = errors;
  const where = first ? `${first.path === '' ? 'the value' : first.path} ${first.message}` : '';
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  return new AppError('VALIDATION_FAILED', `${where}${more}`.slice(0, 1000), { errors });
}

/** A fault of ours: `cause` is for the log alone. */
export function internalError(cause: unknown): AppError {
  return new AppError('INTERNAL', 'The request failed for a reason on our side.', { cause });
}

/** Public names of failures: the `code` of a problem. */
export type ErrorCode = keyof typeof ERROR_TABLE;

interface ErrorRow {
  status: number;
  title: string;
  trpcCode: string;
  logLevel: 'debug' | 'warn' | 'error';
}

function row(
  status: number,
  title: string,
  trpcCode: string,
  logLevel: ErrorRow['logLevel'] = 'debug',
): ErrorRow {
  return { status, title, trpcCode, logLevel };
}

/** Failures with HTTP status, title, tRPC code and log level for all APIs; the GraphQL code is the name. */
export const ERROR_TABLE = {
  VALIDATION_FAILED: row(400, 'The request is not valid', 'BAD_REQUEST'),
  INVALID_CURSOR: row(400, 'The cursor cannot be used here', 'BAD_REQUEST'),
  MALFORMED_JSON: row(400, 'The body is not well-formed JSON', 'BAD_REQUEST'),
  UNAUTHENTICATED: row(401, 'Authentication is required', 'UNAUTHORIZED'),
  FORBIDDEN: row(403, 'This is not allowed', 'FORBIDDEN'),
  NOT_FOUND: row(404, 'There is nothing here', 'NOT_FOUND'),
  METHOD_NOT_ALLOWED: row(405, 'The method is not allowed here', 'METHOD_NOT_SUPPORTED'),
  NOT_ACCEPTABLE: row(406, 'No acceptable format', 'BAD_REQUEST'),
  CLIENT_TIMEOUT: row(408, 'The request did not arrive in time', 'TIMEOUT'),
  CONFLICT: row(409, 'The request conflicts with what is stored', 'CONFLICT'),
  INCOMPATIBLE_SCHEMA: row(409, 'The schema is not compatible', 'CONFLICT'),
  TIMELINE_CHANGED: row(409, 'The log is on another timeline', 'CONFLICT'),
  REQUEST_TOO_LARGE: row(413, 'The request is too large', 'PAYLOAD_TOO_LARGE'),
  URI_TOO_LONG: row(414, 'The request target is too long', 'PAYLOAD_TOO_LARGE'),
  UNSUPPORTED_MEDIA_TYPE: row(415, 'The media type is not supported', 'UNSUPPORTED_MEDIA_TYPE'),
  IDEMPOTENCY_MISMATCH: row(
    422,
    'The idempotency key was used for another request',
    'UNPROCESSABLE_CONTENT',
  ),
  RATE_LIMITED: row(429, 'The rate limit is used up', 'TOO_MANY_REQUESTS'),
  HEADERS_TOO_LARGE: row(431, 'The request headers are too large', 'PAYLOAD_TOO_LARGE'),
  CLIENT_CLOSED: row(499, 'The client did not wait for the answer', 'CLIENT_CLOSED_REQUEST'),
  // FairScheduler logs an overload once in a while, instead of thousands of lines a second.
  TOO_MANY_REQUESTS: row(503, 'The service is at its limit', 'SERVICE_UNAVAILABLE'),
  QUEUE_TIMEOUT: row(503, 'The request waited too long', 'SERVICE_UNAVAILABLE'),
  SLOW_CONSUMER: row(503, 'The subscriber reads too slowly', 'SERVICE_UNAVAILABLE'),
  DATABASE_UNAVAILABLE: row(503, 'The database is unavailable', 'SERVICE_UNAVAILABLE', 'error'),
  AUTHENTICATION_UNAVAILABLE: row(
    503,
    'The keys that verify tokens are unavailable',
    'SERVICE_UNAVAILABLE',
    'error',
  ),
  NOT_READY: row(503, 'The service is not ready', 'SERVICE_UNAVAILABLE'),
  REQUEST_TIMEOUT: row(504, 'The request took too long', 'GATEWAY_TIMEOUT', 'warn'),
  INTERNAL: row(500, 'Something went wrong here', 'INTERNAL_SERVER_ERROR', 'error'),
} satisfies Record<string, ErrorRow>;

/** The code for an HTTP status of a framework's exception. */
export function codeOfStatus(status: number): ErrorCode {
  if (status < 400 || status >= 500) return 'INTERNAL';
  if (status === 422) return 'VALIDATION_FAILED'; // no framework knows idempotency keys
  const codes = Object.keys(ERROR_TABLE) as ErrorCode[];
  return codes.find((code) => ERROR_TABLE[code].status === status) ?? 'VALIDATION_FAILED';
}
