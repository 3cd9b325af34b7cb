import type { Scope } from './principal';
import { routeAccess } from './route-access';

/** Who may call this handler, or all of this class: callers whose token holds every one of these scopes. */
export const Scopes = (first: Scope, ...rest: Scope[]): MethodDecorator & ClassDecorator =>
  routeAccess([first, ...rest]);

/** Whoever has a good token, for doors that ask for scopes once they know what is wanted. */
export const Authenticated = (): MethodDecorator & ClassDecorator => routeAccess([]);
