import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { AppError } from '../platform/errors/app-error';
import { bodyCompletedAt } from './request-context';

/** Kept on the answer, so that all who work on one request share it. */
const REQUEST_SIGNAL = Symbol('patience');
type Patient = ServerResponse & { [REQUEST_SIGNAL]?: AbortSignal };

/**
 * How long somebody waits for this answer: aborts with REQUEST_TIMEOUT `timeoutMs` after all of the request had come, or with
 * CLIENT_CLOSED when its client hangs up. Made at the first call, as most answers are given sooner than it would pay.
 */
export function requestSignal(response: ServerResponse, timeoutMs: number): AbortSignal {
  const patient = response as Patient;
  if (patient[REQUEST_SIGNAL]) return patient[REQUEST_SIGNAL];
  const controller = new AbortController();
  patient[REQUEST_SIGNAL] = controller.signal;
  const hangUp = (): void => controller.abort(clientClosed());
  if (response.destroyed) {
    hangUp();
    return controller.signal;
  }
  const elapsedMs = performance.now() - bodyCompletedAt(response);
  const timer = setTimeout(
    () => controller.abort(requestTimeout()),
    Math.max(1, Math.ceil(timeoutMs - elapsedMs)),
  ).unref();
  response.once('close', () => {
    clearTimeout(timer);
    if (!response.writableFinished) hangUp();
  });
  return controller.signal;
}

/** The signal of requestSignal, for handlers with a deadline (FairTurn); undefined for those without. */
export const RequestSignal = createParamDecorator(
  (_: unknown, context: ExecutionContext): AbortSignal | undefined =>
    context.switchToHttp().getResponse<Patient>()[REQUEST_SIGNAL],
);

/** The end of a request that took too long. Of a write that was under way already, nobody can tell by then. */
export function requestTimeout(): AppError {
  return new AppError(
    'REQUEST_TIMEOUT',
    'The request was not done in time. Repeat a write with the same Idempotency-Key to learn its outcome.',
  );
}

/** The end of a request that nobody waits for any more. */
export function clientClosed(): AppError {
  return new AppError('CLIENT_CLOSED', 'The client hung up before it was answered.');
}
