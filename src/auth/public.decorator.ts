import { routeAccess } from './route-access';

/** Anybody may call this handler, or all of this class, without a token. */
export const Public = (): MethodDecorator & ClassDecorator => routeAccess('public');
