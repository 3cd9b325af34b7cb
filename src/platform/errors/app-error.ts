import { ERROR_TABLE, type ErrorCode } from './error-table';

/** One fault of the input: `path` as in `events[3].metadata.tags[0]`; `message` says what is allowed. */
export interface FieldError {
  path: string;
  message: string;
}

interface AppErrorOptions {
  /** Every wrong place; shown to the caller. */
  errors?: FieldError[];
  /** Seconds after which a retry makes sense; becomes `Retry-After`. */
  retryAfterSeconds?: number;
  /** Further response headers, such as `WWW-Authenticate` or `Allow`. */
  headers?: Record<string, string>;
  /** The original fault; logged, never shown. */
  cause?: unknown;
}

/**
 * A failure that is reported to the caller, analogous to an HTTP error but not tied to HTTP: every API renders it from
 * the row of ERROR_TABLE that `code` names. `detail` is shown as it is, so it must never hold a stack, SQL, a file path
 * or a secret; those belong in `cause`.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly headers: Record<string, string>;

  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    // No stack: capturing it is a tenth of the cost of a refusal, and the place of a refusal helps with nothing. Faults
    // of our own are the cause, which has a stack.
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

  /** The HTTP status of this kind of failure. */
  get status(): number {
    return ERROR_TABLE[this.code].status;
  }

  /** `detail` of the problem: the message as it was given. */
  get detail(): string {
    return this.message;
  }
}

/** A 400 that names each wrong place; the detail names the first one, so that a log line alone helps. */
export function validationFailed(errors: FieldError[]): AppError {
  const [first] = errors;
  const where = first ? `${first.path === '' ? 'the value' : first.path} ${first.message}` : '';
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  return new AppError('VALIDATION_FAILED', `${where}${more}`.slice(0, 1000), { errors });
}
