import { SetMetadata } from '@nestjs/common';

export const PROCEDURE = 'http:procedure';

/**
 * Makes the handler a tRPC procedure such as `performance.getMetrics`, with the same guards, interceptors and pipes;
 * the input is body and query.
 */
export const Procedure = (path: string): MethodDecorator => SetMetadata(PROCEDURE, path);
