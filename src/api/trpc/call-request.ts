import type { Request } from 'express';
import { validationFailed } from '../../platform/errors/app-error';
import { BODY_IS_READ } from '../../http/json-body.interceptor';

/** A request as the handler of one call sees it. */
export interface CallRequest extends Request {
  /** Aborts when nobody waits for the call any more: a stream has no deadline. */
  callSignal: AbortSignal;
}

/**
 * What a handler takes for its request: the request itself, with the input of one call for its body and its query. Each
 * call has its own, so that calls of one batch share nothing that guards leave on it.
 */
export function callRequest(
  request: Request,
  input: unknown,
  callSignal: AbortSignal,
): CallRequest {
  const value = input ?? {};
  return Object.create(request, {
    body: { value, writable: true },
    query: { get: () => requireObject(value) },
    principal: { value: undefined, writable: true },
    callSignal: { value: callSignal },
    [BODY_IS_READ]: { value: true },
  }) as CallRequest;
}

function requireObject(value: unknown): object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw validationFailed([{ path: '', message: 'must be a JSON object' }]);
}
