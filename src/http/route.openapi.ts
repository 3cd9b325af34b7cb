import { applyDecorators } from '@nestjs/common';
import { ApiOperation, ApiSecurity } from '@nestjs/swagger';
import type { Scope } from '../auth/principal';
import type { ErrorCode } from '../platform/errors/error-table';
import { ApiRequestId } from './problems/problem.openapi';

/** Further media types of a request's body, by which openapi.ts completes its description. */
export const REQUEST_BODIES = 'x-request-bodies';

/** What every route with a token can answer, whatever it does. */
export const COMMON_ERRORS: ErrorCode[] = [
  'VALIDATION_FAILED',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'NOT_ACCEPTABLE',
  'CLIENT_TIMEOUT',
  'URI_TOO_LONG',
  'HEADERS_TOO_LARGE',
  'RATE_LIMITED',
  'INTERNAL',
  'DATABASE_UNAVAILABLE',
  'AUTHENTICATION_UNAVAILABLE',
  'NOT_READY',
  'TOO_MANY_REQUESTS',
  'QUEUE_TIMEOUT',
  'REQUEST_TIMEOUT',
];

/** Documents a route that wants a token with this scope. */
export function ApiRoute(scope: Scope, summary: string, description: string): MethodDecorator {
  return applyDecorators(
    ApiOperation({ summary, description: `${description}\n\nScope: \`${scope}\`.` }),
    ApiSecurity('bearer', [scope]),
    ApiRequestId(),
  );
}
