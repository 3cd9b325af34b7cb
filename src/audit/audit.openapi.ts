import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { ERROR_TABLE, type ErrorCode } from '../errors/error-table';
import { PROBLEM_JSON } from '../errors/problem';
import { ProblemDto } from '../errors/problem.dto';

const REQUEST_ID = {
  'X-Request-Id': {
    description: 'The request id that was sent when sane, else a new one.',
    schema: { type: 'string' as const },
  },
  'X-Response-Time': {
    description: 'How long the answer took, such as `1.2ms`.',
    schema: { type: 'string' as const },
  },
  'Server-Timing': { description: 'The same for browsers.', schema: { type: 'string' as const } },
};

/** The headers that every answer has, and more. */
export function headersWith(more: Record<string, string> = {}) {
  const described = Object.entries(more).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' as const } },
  ]);
  return { ...REQUEST_ID, ...Object.fromEntries(described) } as typeof REQUEST_ID;
}

/** Documents the kinds of failure that a route can answer with, one response per status. */
export function ApiProblems(...codes: ErrorCode[]): MethodDecorator {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { status } = ERROR_TABLE[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return applyDecorators(
    ...[...byStatus].map(([status, kinds]) =>
      ApiResponse({
        status,
        description: kinds.map((kind) => `\`${kind}\`: ${ERROR_TABLE[kind].title}.`).join(' '),
        headers: headersWith(
          status === 503
            ? { 'Retry-After': 'Seconds until a retry makes sense.' }
            : status === 401 || status === 403
              ? { 'WWW-Authenticate': 'What kind of token is wanted (RFC 6750).' }
              : {},
        ),
        content: { [PROBLEM_JSON]: { schema: { $ref: getSchemaPath(ProblemDto) } } },
      }),
    ),
  );
}

/** Documents the request headers that every route understands. */
export function ApiRequestId(): MethodDecorator {
  return ApiHeader({
    name: 'X-Request-Id',
    required: false,
    description:
      'An id of your own for this request: 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ / + = -',
    schema: { type: 'string', maxLength: 128 },
  });
}

/** Documents the idempotency key of a write. */
export function ApiIdempotencyKey(): MethodDecorator {
  return ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description:
      '1 to 255 printable ASCII characters. A retry with the same key and body gets the first answer again.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  });
}
