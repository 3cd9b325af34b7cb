import { AppError, type FieldError } from './app-error';
import { codeOfStatus, ERROR_TABLE, type ErrorCode } from './error-table';

/** Media type of every error over REST (RFC 9457). */
export const PROBLEM_JSON = 'application/problem+json';

/** RFC 9457 problem document. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: ErrorCode;
  requestId: string;
  errors?: FieldError[];
}

/** Errors of express, body-parser and Nest: an HTTP status and, for some, permission to show the message. */
interface HttpLikeError {
  status?: unknown;
  statusCode?: unknown;
  getStatus?: () => number;
  type?: unknown;
  message?: unknown;
}

/** Error types of body-parser; others of its kind are a plain 400. */
const BODY_ERRORS: Partial<Record<string, [ErrorCode, string]>> = {
  'entity.too.large': ['REQUEST_TOO_LARGE', 'The body is larger than this service accepts.'],
  'encoding.unsupported': [
    'UNSUPPORTED_MEDIA_TYPE',
    'This Content-Encoding is not supported: send identity, gzip, deflate or br.',
  ],
  'request.aborted': ['VALIDATION_FAILED', 'The request ended before its body did.'],
  'request.size.invalid': ['VALIDATION_FAILED', 'Content-Length does not match the body.'],
};

/**
 * Converts any thrown value. Errors of the HTTP framework keep their status with a message of ours; unknown ones become
 * INTERNAL, with the original as `cause` for the log alone.
 */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  if (thrown instanceof URIError) {
    return new AppError('VALIDATION_FAILED', 'The URL holds a malformed percent-encoding.', {
      cause: thrown,
    });
  }
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as HttpLikeError;
  const body = typeof error.type === 'string' ? BODY_ERRORS[error.type] : undefined;
  if (body) return new AppError(body[0], body[1], { cause: thrown });
  const status = error.getStatus?.() ?? error.status ?? error.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    const code = codeOfStatus(status);
    return new AppError(code, `${ERROR_TABLE[code].title}.`, { cause: thrown });
  }
  return new AppError('INTERNAL', 'The request failed for a reason on our side.', {
    cause: thrown,
  });
}

/** `instance` is the path of the request, without its query. */
export function problemOf(error: AppError, instance: string, requestId: string): Problem {
  const { status, title } = ERROR_TABLE[error.code];
  return {
    type: `urn:audit-server:error:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title,
    status,
    detail: error.detail,
    instance,
    code: error.code,
    requestId,
    ...(error.errors ? { errors: error.errors } : {}),
  };
}
