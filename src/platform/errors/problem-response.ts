import { Logger } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AppError } from './app-error';
import { ERROR_TABLE } from './error-table';
import { PROBLEM_JSON, problemOf, toAppError } from './problem';

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
