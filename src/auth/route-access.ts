import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { Scope } from './principal';

/** Metadata key; a handler's access precedes its class's. */
export const ROUTE_ACCESS = 'auth:route-access';

/** Open, or restricted to tokens with all of these scopes. */
export type RouteAccess = 'public' | readonly Scope[];

/** Opens a handler or class to requests without a token. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');

/** Requires all of these scopes. */
export const Scopes = (...scopes: [Scope, ...Scope[]]): MethodDecorator & ClassDecorator =>
  applyDecorators(routeAccess(scopes), ApiSecurity('bearer', scopes));

/** Requires a valid token alone: the scopes depend on the body. */
export const Authenticated = (): MethodDecorator & ClassDecorator => routeAccess([]);

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
