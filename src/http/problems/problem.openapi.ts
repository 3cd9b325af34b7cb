import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { ERROR_TABLE, type ErrorCode } from '../../platform/errors/error-table';
import { PROBLEM_JSON } from '../../platform/errors/problem';
import { ProblemDto } from './problem.dto';
import { UNREADABLE_CODES } from './problem.examples';

/** The response headers that many operations share; they refer to them by name. */
export const SHARED_HEADERS = {
  'X-Request-Id': {
    description: 'The request id that was sent when sane, else a new one.',
    schema: { type: 'string' as const, example: '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d' },
  },
  'X-Response-Time': {
    description: 'How long the answer took.',
    schema: { type: 'string' as const, example: '1.2ms' },
  },
  'Server-Timing': {
    description: 'How long the answer took, in the form that browsers show.',
    schema: { type: 'string' as const, example: 'total;dur=1.2' },
  },
  'Cache-Control': {
    description: 'Errors and probes are not to be kept.',
    schema: { type: 'string' as const, enum: ['no-store'] },
  },
  'Retry-After': {
    description: 'Seconds until a retry makes sense; absent when none does.',
    schema: { type: 'integer' as const, minimum: 1, example: 2 },
  },
  RateLimit: {
    description:
      'What is left of the limit of this principal (r) and until when, in seconds (t). Only where a rate limit is set.',
    schema: { type: 'string' as const, example: '"default";r=0;t=42' },
  },
  'RateLimit-Policy': {
    description: 'The rate limit: requests (q) in a window of so many seconds (w).',
    schema: { type: 'string' as const, example: '"default";q=6000;w=60' },
  },
  'WWW-Authenticate': {
    description: 'Which token is wanted, and what is wrong with the one that came (RFC 6750).',
    schema: { type: 'string' as const, example: 'Bearer realm="audit-server"' },
  },
};

/** Documents the request header that every route understands. */
export function ApiRequestId(): MethodDecorator {
  return ApiHeader({
    name: 'X-Request-Id',
    required: false,
    description:
      'An id of your own for this request; one of another form is replaced by a new one.',
    schema: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$' },
  });
}

/** References to the headers of every answer and to `more` of the shared ones. */
export function headersWith(...more: (keyof typeof SHARED_HEADERS)[]) {
  const names = ['X-Request-Id', 'X-Response-Time', 'Server-Timing', ...more];
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

const MORE_HEADERS: Partial<Record<number, (keyof typeof SHARED_HEADERS)[]>> = {
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate'],
  409: ['Retry-After'],
  429: ['Retry-After', 'RateLimit', 'RateLimit-Policy'],
  503: ['Retry-After'],
};

/** What a status means, for the kinds of problem that share it. */
function describeProblems(codes: readonly ErrorCode[]): string {
  return codes.map((code) => `\`${code}\`: ${ERROR_TABLE[code].title}.`).join(' ');
}

/** The body of an answer that is one of these kinds of problem, with an example of each. */
export function problemContent(codes: readonly ErrorCode[]) {
  const examples = codes.map((code) => [code, { $ref: `#/components/examples/${code}` }] as const);
  return {
    [PROBLEM_JSON]: {
      schema: { $ref: getSchemaPath(ProblemDto) },
      examples: Object.fromEntries(examples),
    },
  };
}

/** Documents the kinds of failure that a route can answer with, one response per status. */
export function ApiProblems(...codes: ErrorCode[]): MethodDecorator & ClassDecorator {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = ERROR_TABLE[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const responses = [...byStatus].map(([status, kinds]) =>
    ApiResponse({
      status,
      description: describeProblems(kinds),
      headers: kinds.every((kind) => UNREADABLE_CODES.has(kind))
        ? headersWith()
        : headersWith('Cache-Control', ...(MORE_HEADERS[status] ?? [])),
      content: problemContent(kinds),
    }),
  );
  return applyDecorators(ApiExtraModels(ProblemDto), ...responses);
}
