import { SetMetadata } from '@nestjs/common';

/** Under this key a handler says as which procedure it can be called. */
export const PROCEDURE = 'front:procedure';

/**
 * The handler also answers calls of this procedure, as in `performance.getMetrics`: behind the same guards, interceptors and
 * pipes as a request, with the input of the call for its body and its query.
 */
export const Procedure = (path: string): MethodDecorator => SetMetadata(PROCEDURE, path);
