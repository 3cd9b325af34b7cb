import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import { ApiProblems, headersWith } from '../errors/problem.openapi';
import { ApiRoute, COMMON_ERRORS } from '../front/route.openapi';

/** Documents the export of events. */
export function ApiExport(): MethodDecorator {
  return applyDecorators(
    ApiRoute('audit:export', 'Export events', 'x'),
    ApiResponse({ status: 200, description: 'The export.', headers: headersWith() }),
    ApiProblems(...COMMON_ERRORS, 'INVALID_CURSOR', 'NOT_FOUND', 'TOO_MANY_REQUESTS'),
  );
}
