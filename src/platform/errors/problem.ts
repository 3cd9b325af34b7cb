import { Logger } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  AppError,
  codeOfStatus,
  ERROR_TABLE,
  type ErrorCode,
  type FieldError,
  internalError,
} from './app-error';

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

/** Errors of express, body-parser and Nest with an HTTP status. */
interface HttpLikeError {
  status?: unknown;
  statusCode?: unknown;
  getStatus?: () => number;
  type?: unknown;
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
  return internalError(thrown);
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

const logger = new Logger('Errors');

/** Responds with the problem for `thrown`; disconnects a response that has begun (`beginProblem`). */
export function writeProblem(
  thrown: unknown,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const requestId = String(response.getHeader('X-Request-Id') ?? '');
  const problem = beginProblem(thrown, request, response, requestId);
  if (!problem) return;
  for (const name of ['Content-Encoding', 'ETag', 'Link', 'Location']) response.removeHeader(name);
  const { status, headers, body } = problem;
  response.statusCode = status;
  for (let at = 0; at < headers.length; at += 2) {
    response.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
  }
  response.end(body);
}

/** A response to be written; `headers` are name, value, name, value …. */
interface ProblemResponse {
  status: number;
  headers: string[];
  body: string;
}

/**
 * The problem to respond with, logged here. Undefined once the response has begun: its connection is closed, so that no
 * part passes for the whole.
 */
export function beginProblem(
  thrown: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
): ProblemResponse | undefined {
  const error = toAppError(thrown);
  const path = pathOf(request);
  logFailure(error, `${request.method ?? ''} ${path}`, requestId);
  if (response.headersSent) {
    response.destroy();
    return undefined;
  }
  const headers = Object.entries(error.headers).flat();
  if (error.retryAfterSeconds !== undefined) {
    headers.push('Retry-After', String(Math.ceil(error.retryAfterSeconds)));
  }
  const body = JSON.stringify(problemOf(error, path, requestId));
  headers.push('Content-Type', PROBLEM_JSON, 'Content-Length', String(Buffer.byteLength(body)));
  headers.push('Cache-Control', 'no-store');
  return { status: error.status, headers, body };
}

/** The path as sent, without its query. */
function pathOf(request: IncomingMessage): string {
  const url = (request as { originalUrl?: string }).originalUrl ?? request.url ?? '';
  return (url.split('?', 1)[0] ?? '').slice(0, 200);
}

/**
 * Logs request, outcome and reason, with the stack of faults of our own. The detail of a caller's mistake is not
 * logged, as it may quote the input.
 */
export function logFailure(error: AppError, what: string, requestId: string): void {
  const level = ERROR_TABLE[error.code].logLevel;
  const outcome = `${what} -> ${error.status} ${error.code}`;
  if (level === 'debug') return logger.debug(`${outcome} [${requestId}]`);
  const line = `${outcome}: ${error.detail} [${requestId}]`;
  const { cause } = error;
  const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : '';
  if (level === 'warn') return logger.warn(`${line} ${reason}`);
  // The stack of a refused connection is the same for all requests of an outage.
  const isOurs = error.code === 'INTERNAL' && cause instanceof Error;
  logger.error(`${line} ${reason}`, isOurs ? cause.stack : undefined);
}
