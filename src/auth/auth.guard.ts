import {
  applyDecorators,
  type CanActivate,
  type ExecutionContext,
  Injectable,
  type OnModuleInit,
  SetMetadata,
} from '@nestjs/common';
import { PATH_METADATA } from '@nestjs/common/constants';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { ApiSecurity } from '@nestjs/swagger';
import { type AuthenticatedRequest, type Principal, requireScopes, type Scope } from './principal';
import { AuthFailures } from './auth-failures';
import {
  TICKET_ACCESS,
  ticketAndToken,
  ticketNotAccepted,
  ticketOf,
  TicketVerifier,
} from './ticket-access';
import { TokenVerifier } from './token-verifier';
import { type AppError, internalError } from '../platform/errors/app-error';

/** Metadata key; a handler's access precedes its class's. */
export const ROUTE_ACCESS = 'auth:route-access';

/** Open, or restricted to tokens with all of these scopes. */
export type RouteAccess = 'public' | readonly Scope[];

/** Opens a handler or class to requests without a token. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');

/** Requires all of these scopes. */
export const Scopes = (...scopes: [Scope, ...Scope[]]): MethodDecorator & ClassDecorator =>
  applyDecorators(routeAccess(scopes), ApiSecurity('bearer', scopes));

/** Requires a valid token alone: no scope, or those that depend on the body. */
export const Authenticated = (): MethodDecorator & ClassDecorator =>
  applyDecorators(routeAccess([]), ApiSecurity('bearer'));

/** A second declaration in one place fails at load time. */
function routeAccess(access: RouteAccess): MethodDecorator & ClassDecorator {
  const declare = SetMetadata(ROUTE_ACCESS, access);
  return (target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => {
    const place = (descriptor?.value ?? target) as () => unknown;
    if (Reflect.hasOwnMetadata(ROUTE_ACCESS, place)) {
      throw new Error(`${place.name} says twice who may call it.`);
    }
    if (key !== undefined && descriptor) declare(target, key, descriptor);
    else declare(place);
  };
}

/**
 * Verifies tokens, or tickets on routes that accept them, sets `request.principal`, and requires the handler's scopes. Handlers without a declaration are
 * closed (INTERNAL).
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly verifier: TokenVerifier,
    private readonly failures: AuthFailures,
    private readonly tickets: TicketVerifier,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const access = this.reflector.getAllAndOverride<RouteAccess | undefined>(ROUTE_ACCESS, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (access === undefined) throw undeclared(context);
    if (access === 'public') return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const refuse = (error: unknown): never => {
      this.failures.note(request, error);
      throw error;
    };
    try {
      const ticket = ticketOf(request);
      const principal =
        ticket === undefined
          ? this.verifier.verify(request.headers.authorization)
          : this.holderOf(ticket, request, context);
      return principal instanceof Promise
        ? principal.then((found) => admit(request, found, access)).catch(refuse)
        : admit(request, principal, access);
    } catch (error) {
      return refuse(error);
    }
  }

  private holderOf(
    ticket: string,
    { headers }: AuthenticatedRequest,
    context: ExecutionContext,
  ): Promise<Principal> {
    if (!this.reflector.get(TICKET_ACCESS, context.getHandler())) throw ticketNotAccepted();
    if (headers.authorization !== undefined) throw ticketAndToken();
    return this.tickets.verify(ticket);
  }
}

function admit(request: AuthenticatedRequest, principal: Principal, needed: readonly Scope[]) {
  requireScopes(principal, needed);
  request.principal = principal;
  return true;
}

function undeclared(context: ExecutionContext): AppError {
  const handler = `${context.getClass().name}.${context.getHandler().name}`;
  return internalError(new Error(`${handler} has neither @Public() nor @Scopes().`));
}

/** Stops the boot when a route declares no access, before the guard refuses a request. */
@Injectable()
export class RouteAccessCheck implements OnModuleInit {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
  ) {}

  onModuleInit(): void {
    const undeclared = this.discovery
      .getControllers()
      .flatMap(({ metatype }) =>
        typeof metatype === 'function' ? this.undeclaredOf(metatype) : [],
      );
    if (undeclared.length > 0) {
      throw new Error(`Neither @Public() nor @Scopes() on: ${undeclared.join(', ')}.`);
    }
  }

  private undeclaredOf(controller: { name: string; prototype?: unknown }): string[] {
    const prototype = controller.prototype as Record<string, () => unknown>;
    return this.scanner
      .getAllMethodNames(prototype)
      .filter((name) => {
        const handler = prototype[name];
        return (
          handler !== undefined &&
          Reflect.hasMetadata(PATH_METADATA, handler) &&
          this.reflector.getAllAndOverride(ROUTE_ACCESS, [handler, controller as () => void]) ===
            undefined
        );
      })
      .map((name) => `${controller.name}.${name}`);
  }
}
