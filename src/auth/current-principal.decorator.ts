import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { principalOfContext } from './authenticated-request';

/** A handler's parameter: the Principal that sent the request. Not for public routes, which have none. */
export const CurrentPrincipal = createParamDecorator((_data: unknown, context: ExecutionContext) =>
  principalOfContext(context),
);
