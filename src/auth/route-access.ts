import { SetMetadata } from '@nestjs/common';
import type { Scope } from './principal';

/** Under this key a handler or a class says who may call it; the handler's word goes before its class's. */
export const ROUTE_ACCESS = 'auth:route-access';

/** Anybody, or whoever holds all of these scopes. */
export type RouteAccess = 'public' | readonly Scope[];

/** Declares the access of a handler or a class. Declaring it twice in one place is a mistake, found at load time. */
export function routeAccess(access: RouteAccess): MethodDecorator & ClassDecorator {
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
