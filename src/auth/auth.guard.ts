import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { AppError } from '../platform/errors/app-error';
import { requestOf } from './authenticated-request';
import { requireScopes, type Principal, type Scope } from './principal';
import { ROUTE_ACCESS, type RouteAccess } from './route-access';
import { TokenVerifier } from './token-verifier';

/**
 * Stands before every handler: finds out who asks, leaves that as `request.principal`, and holds the caller to the
 * scopes the handler declares. A handler that declares nothing is closed to everybody (INTERNAL), since nobody has
 * decided who may call it.
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
    const principal = this.verifier.verify(requestOf(context).headers.authorization);
    return principal instanceof Promise
      ? principal.then((found) => admit(context, found, access))
      : admit(context, principal, access);
  }
}

function admit(context: ExecutionContext, principal: Principal, needed: readonly Scope[]): boolean {
  requireScopes(principal, needed);
  requestOf(context).principal = principal;
  return true;
}

function undeclared(context: ExecutionContext): AppError {
  const handler = `${context.getClass().name}.${context.getHandler().name}`;
  return new AppError('INTERNAL', 'The request failed for a reason on our side.', {
    cause: new Error(`${handler} has neither @Public() nor @Scopes().`),
  });
}
