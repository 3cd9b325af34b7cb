import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { Scope } from './principal';

/** Metadata key of the access of a handler or a class; a handler's comes before its class's. */
export const ROUTE_ACCESS = 'auth:route-access';

/** Anyone, or callers whose token holds all of these scopes. */
export type RouteAccess = 'public' | readonly Scope[];

/** Opens this handler, or all of this class, to callers without a token. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');

/** Opens it to callers whose token holds every one of these scopes. */
export const Scopes = (...scopes: [Scope, ...Scope[]]): MethodDecorator & ClassDecorator =>
  applyDecorators(routeAccess(scopes), ApiSecurity('bearer', scopes));

/** Opens it to every caller with a good token: for routes that learn from the body which scopes they need. */
export const Authenticated = (): MethodDecorator & ClassDecorator => routeAccess([]);

/** Declaring the access of one place twice is a mistake, found at load time. */
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
