import type { ExecutionContext } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import type { Principal } from './principal';

/** The part of a request that authentication reads, and the principal it leaves there. */
export interface AuthenticatedRequest {
  headers: { authorization?: string };
  principal?: Principal;
}

/** How each protocol's context leads to its request. Another protocol needs one more line here. */
const REQUEST_OF: Partial<Record<string, (context: ExecutionContext) => AuthenticatedRequest>> = {
  http: (context) => context.switchToHttp().getRequest<AuthenticatedRequest>(),
};

/** The request behind an execution context, whatever the protocol. INTERNAL for one nobody has thought of. */
export function requestOf(context: ExecutionContext): AuthenticatedRequest {
  const find = REQUEST_OF[context.getType<string>()];
  if (!find) {
    throw new AppError('INTERNAL', 'The request failed for a reason on our side.', {
      cause: new Error(`Authentication does not know ${context.getType<string>()} contexts.`),
    });
  }
  return find(context);
}

/** The principal that the guard found. INTERNAL on a public route, which has none. */
export function principalOfContext(context: ExecutionContext): Principal {
  const { principal } = requestOf(context);
  if (!principal) {
    throw new AppError('INTERNAL', 'The request failed for a reason on our side.', {
      cause: new Error(`${context.getHandler().name} wants a principal but is public.`),
    });
  }
  return principal;
}
