import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { AppError } from '../platform/errors/app-error';
import { bodyCompletedAt } from './request-context';

/** Kept on the response, so that all work for one request shares it. */
const REQUEST_SIGNAL = Symbol('request signal');
type Signalled = ServerResponse & { [REQUEST_SIGNAL]?: AbortSignal };

/**
 * Aborts with REQUEST_TIMEOUT `timeoutMs` after the complete request, or with CLIENT_CLOSED at a disconnect. Made on
 * demand, as most requests never need it.
 */
export function requestSignal(response: Signalled, timeoutMs: number): AbortSignal {
  if (response[REQUEST_SIGNAL]) return response[REQUEST_SIGNAL];
  const controller = new AbortController();
  response[REQUEST_SIGNAL] = controller.signal;
  const abort = (): void => controller.abort(clientClosed());
  if (response.destroyed) {
    abort();
    return controller.signal;
  }
  const elapsedMs = performance.now() - bodyCompletedAt(response);
  const timer = setTimeout(
    () => controller.abort(requestTimeout()),
    Math.max(1, Math.ceil(timeoutMs - elapsedMs)),
  ).unref();
  response.once('close', () => {
    clearTimeout(timer);
    if (!response.writableFinished) abort();
  });
  return controller.signal;
}

/** The requestSignal, for handlers with LimitConcurrency; undefined for others. */
export const RequestSignal = createParamDecorator(
  (_: unknown, context: ExecutionContext): AbortSignal | undefined =>
    context.switchToHttp().getResponse<Signalled>()[REQUEST_SIGNAL],
);

/** REQUEST_TIMEOUT: the outcome of a write in progress is unknown. */
export function requestTimeout(): AppError {
  return new AppError(
    'REQUEST_TIMEOUT',
    'The request was not done in time. Repeat a write with the same Idempotency-Key to learn its outcome.',
  );
}

export function clientClosed(): AppError {
  return new AppError('CLIENT_CLOSED', 'The client hung up before it was answered.');
}
