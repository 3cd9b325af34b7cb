import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import type { Principal } from './principal';

/** A request as authentication reads and marks it. */
export interface AuthenticatedRequest {
  headers: { authorization?: string };
  principal?: Principal;
}

/** The principal; INTERNAL on a public route, which has none. */
export function principalOfContext(context: ExecutionContext): Principal {
  const { principal } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!principal) {
    throw new AppError('INTERNAL', 'The request failed for a reason on our side.', {
      cause: new Error(`${context.getHandler().name} wants a principal but is public.`),
    });
  }
  return principal;
}

/** Parameter decorator for the Principal, not for public routes. */
export const CurrentPrincipal = createParamDecorator((_data: unknown, context: ExecutionContext) =>
  principalOfContext(context),
);
