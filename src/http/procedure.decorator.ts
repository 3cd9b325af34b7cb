import { SetMetadata } from '@nestjs/common';

/** Metadata key of a handler's procedure. */
export const PROCEDURE = 'http:procedure';

/**
 * Makes the handler a procedure as well, as in `performance.getMetrics`: with the same guards, interceptors and pipes, and
 * the input of the call for its body and its query.
 */
export const Procedure = (path: string): MethodDecorator => SetMetadata(PROCEDURE, path);
