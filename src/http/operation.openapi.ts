import { applyDecorators, type Type } from '@nestjs/common';
import {
  ApiBody,
  type ApiBodyOptions,
  ApiConsumes,
  ApiExtraModels,
  ApiHeader,
  ApiOperation,
  ApiParam,
  type ApiParamOptions,
  ApiResponse,
  type ApiResponseOptions,
  getSchemaPath,
} from '@nestjs/swagger';
import { ERROR_TABLE, type ErrorCode } from '../platform/errors/app-error';
import { PROBLEM_JSON } from '../platform/errors/problem';
import { ProblemDto, UNREADABLE_CODES } from './problem.openapi';

type Json = Record<string, unknown>;

/** One OpenAPI operation. Scopes come from `@Scopes()`, query and body from the handler. */
export interface OperationDescription {
  /** `operationId`: a verb and its object, as generators name the function of a client. Public: never changed. */
  id: string;
  summary: string;
  description: string;
  /** Served without a token. */
  isPublic?: boolean;
  pathParameters?: ApiParamOptions[];
  /** Optional request headers by name, beside X-Request-Id. */
  requestHeaders?: Record<string, { description: string; schema: Json }>;
  body?: ApiBodyOptions;
  /** Media type of the body, if it is not JSON. */
  bodyType?: string;
  /** Bodies of errors by media type, beside problem documents. */
  errorContent?: Json;
  responses: Record<number, ResponseDescription>;
  /** Errors that this operation names beside those that any may return. */
  errors?: readonly ErrorCode[];
  /** Classes that schemas refer to by name alone. */
  models?: Type[];
}

export interface ResponseDescription {
  description: string;
  type?: Type | [Type];
  headers?: Json;
  examples?: Json;
  content?: Json;
}

const PUBLIC_ERRORS: readonly ErrorCode[] = ['CLIENT_TIMEOUT', 'HEADERS_TOO_LARGE', 'INTERNAL'];

const COMMON_ERRORS: readonly ErrorCode[] = [
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

/** Operations with a token reject unknown parameters. */
const INPUT_ERRORS: readonly ErrorCode[] = ['VALIDATION_FAILED'];

const header = (type: 'string' | 'integer', description: string, schema: Json) => ({
  description,
  schema: { type, ...schema },
});

/** Response headers that operations refer to by name. */
export const SHARED_HEADERS = {
  'X-Request-Id': header('string', 'The request id that was sent when sane, else a new one.', {
    example: '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
  }),
  'X-Response-Time': header('string', 'How long the answer took.', { example: '1.2ms' }),
  'Server-Timing': header(
    'string',
    'How long the answer took, in milliseconds and in the form that browsers show. A slow one (`SLOW_REQUEST_THRESHOLD_MS`) ' +
      'with a good token also says what took the time: body, queue, connection, sql, redis, json, app; they add up to total.',
    { example: 'total;dur=612.4, queue;dur=401.0, sql;dur=208.1, json;dur=0.4, app;dur=2.9' },
  ),
  'Cache-Control': header('string', 'Errors and probes are not to be kept.', {
    enum: ['no-store'],
  }),
  'Retry-After': header('integer', 'Seconds until a retry makes sense; absent when none does.', {
    minimum: 1,
    example: 2,
  }),
  RateLimit: header(
    'string',
    'What is left of the limit of this principal (r) and until when, in seconds (t). Only where a rate limit is set.',
    { example: '"default";r=0;t=42' },
  ),
  'RateLimit-Policy': header(
    'string',
    'The rate limit: requests (q) in a window of so many seconds (w).',
    { example: '"default";q=6000;w=60' },
  ),
  'WWW-Authenticate': header(
    'string',
    'Which token is wanted, and what is wrong with the one that came (RFC 6750).',
    { example: 'Bearer realm="audit-server"' },
  ),
};
type SharedHeader = keyof typeof SHARED_HEADERS;

export function sharedHeaders(...names: SharedHeader[]) {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

export const NO_STORE = sharedHeaders('Cache-Control');

const EVERY_RESPONSE = sharedHeaders('X-Request-Id', 'X-Response-Time', 'Server-Timing');

const PROBLEM_HEADERS: Partial<Record<number, SharedHeader[]>> = {
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate'],
  409: ['Retry-After'],
  429: ['Retry-After', 'RateLimit', 'RateLimit-Policy'],
  503: ['Retry-After'],
};

export const NDJSON_TYPE = 'application/x-ndjson';

/** Documents a route in OpenAPI. */
export function Operation(operation: OperationDescription): MethodDecorator {
  const { id, summary, description, isPublic = false, bodyType, errorContent } = operation;
  const responses = Object.entries(operation.responses).map(
    ([status, { description: when, headers, ...others }]) =>
      ApiResponse({
        status: Number(status),
        description: when,
        headers: { ...EVERY_RESPONSE, ...headers },
        ...others,
      } as ApiResponseOptions),
  );
  return applyDecorators(
    ApiOperation({
      operationId: id,
      summary,
      description,
      ...(isPublic ? { security: [] } : {}),
    }),
    ...(operation.pathParameters ?? []).map((parameter) => ApiParam(parameter)),
    ApiHeader({
      name: 'X-Request-Id',
      required: false,
      description:
        'An id of your own for this request; one of another form is replaced by a new one.',
      schema: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$' },
    }),
    ...Object.entries(operation.requestHeaders ?? {}).map(([name, one]) =>
      ApiHeader({ name, required: false, ...one }),
    ),
    ...(operation.body ? [ApiBody(operation.body)] : []),
    ...(bodyType ? [ApiConsumes(bodyType)] : []),
    ApiExtraModels(ProblemDto, ...(operation.models ?? [])),
    ...responses,
    ...problems([...(isPublic ? [] : INPUT_ERRORS), ...(operation.errors ?? [])], errorContent),
    ApiResponse({
      status: 'default',
      ...problemResponse(isPublic ? PUBLIC_ERRORS : COMMON_ERRORS, errorContent),
    }),
  );
}

function problems(codes: ErrorCode[], content?: Json): MethodDecorator[] {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = ERROR_TABLE[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return [...byStatus].map(([status, kinds]) =>
    ApiResponse({ status, ...problemResponse(kinds, content) }),
  );
}

/** The response to any of these errors, with the headers that some of them have. */
function problemResponse(codes: readonly ErrorCode[], content: Json = {}) {
  const lines = codes.map((code) => {
    const { status, title } = ERROR_TABLE[code];
    return `\`${code}\` (${status}): ${title}.`;
  });
  const readable = codes.filter((code) => !UNREADABLE_CODES.has(code));
  const headers = readable.flatMap((code) => PROBLEM_HEADERS[ERROR_TABLE[code].status] ?? []);
  return {
    description: lines.join(' '),
    headers: {
      ...EVERY_RESPONSE,
      ...(readable.length > 0 ? sharedHeaders('Cache-Control', ...new Set(headers)) : {}),
    },
    content: { ...problemContent(codes), ...content },
  };
}

/**
 * Schema of NDJSON: a text for generators, as no JSON parser reads the whole of it. `contentSchema` is that of its values
 * as an array (OpenAPI 3.1 has no schema for a sequence, 3.2 has `itemSchema`).
 */
export function ndjsonOf(...lines: Type[]) {
  const references = lines.map((line) => ({ $ref: getSchemaPath(line) }));
  const items = references.length === 1 ? references[0] : { oneOf: references };
  return {
    type: 'string',
    contentMediaType: NDJSON_TYPE,
    contentSchema: { type: 'array', items },
  };
}

/** Response body for these error codes, with an example of each. */
export function problemContent(codes: readonly ErrorCode[]) {
  const examples = codes.map((code) => [code, { $ref: `#/components/examples/${code}` }] as const);
  return {
    [PROBLEM_JSON]: {
      schema: { $ref: getSchemaPath(ProblemDto) },
      examples: Object.fromEntries(examples),
    },
  };
}
