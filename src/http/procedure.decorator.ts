import { SetMetadata } from '@nestjs/common';

export const PROCEDURE = 'http:procedure';

/**
 * Makes the handler a tRPC procedure too, such as `performance.getMetrics`, with the same guards, interceptors and
 * pipes; the call's input is its body and its query.
 */
export const Procedure = (path: string): MethodDecorator => SetMetadata(PROCEDURE, path);
