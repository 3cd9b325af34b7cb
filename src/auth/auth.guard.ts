import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { AppError } from '../platform/errors/app-error';
import type { AuthenticatedRequest } from './authenticated-request';
import { requireScopes, type Principal, type Scope } from './principal';
import { ROUTE_ACCESS, type RouteAccess } from './route-access';
import { TokenVerifier } from './token-verifier';

/**
 * Verifies tokens, sets `request.principal`, and requires the handler's scopes. Handlers without a declaration are
 * closed (INTERNAL).
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly verifier: TokenVerifier,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const access = this.reflector.getAllAndOverride<RouteAccess | undefined>(ROUTE_ACCESS, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (access === undefined) throw undeclared(context);
    if (access === 'public') return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const principal = this.verifier.verify(request.headers.authorization);
    return principal instanceof Promise
      ? principal.then((found) => admit(request, found, access))
      : admit(request, principal, access);
  }
}

function admit(request: AuthenticatedRequest, principal: Principal, needed: readonly Scope[]) {
  requireScopes(principal, needed);
  request.principal = principal;
  return true;
}

function undeclared(context: ExecutionContext): AppError {
  const handler = `${context.getClass().name}.${context.getHandler().name}`;
  return new AppError('INTERNAL', 'The request failed for a reason on our side.', {
    cause: new Error(`${handler} has neither @Public() nor @Scopes().`),
  });
}
