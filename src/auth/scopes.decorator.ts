import { applyDecorators } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { Scope } from './principal';
import { routeAccess } from './route-access';

/** Opens this handler, or all of this class, to callers whose token holds every one of these scopes. */
export const Scopes = (...scopes: [Scope, ...Scope[]]): MethodDecorator & ClassDecorator =>
  applyDecorators(routeAccess(scopes), ApiSecurity('bearer', scopes));

/** Opens it to every caller with a good token: for routes that learn from the body which scopes they need. */
export const Authenticated = (): MethodDecorator & ClassDecorator => routeAccess([]);
