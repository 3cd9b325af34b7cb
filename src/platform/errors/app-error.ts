import { ERROR_TABLE, type ErrorCode } from './error-table';

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
