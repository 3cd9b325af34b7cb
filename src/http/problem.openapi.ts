import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import {
  AppError,
  ERROR_TABLE,
  type ErrorCode,
  type FieldError,
} from '../platform/errors/app-error';
import { type Problem, problemOf } from '../platform/errors/problem';

const Text = (description: string, example: string, schema: ApiPropertyOptions = {}) =>
  ApiProperty({ type: String, ...schema, description, example });

/** One violation in the input. */
export class FieldErrorDto {
  @Text(
    'The place: a member of the body, a parameter or a header; empty for the whole.',
    'events[3].action',
  )
  path!: string;

  @Text('What is wrong with it, as words that follow its path.', 'is required')
  message!: string;
}

/** RFC 9457 problem document, the body of every error. */
export class ProblemDto {
  @Text('The kind of failure as a URN.', 'urn:audit-server:error:validation-failed', {
    format: 'uri',
  })
  type!: string;

  @Text('The kind of failure in words.', 'The request is not valid')
  title!: string;

  @ApiProperty({
    type: 'integer',
    minimum: 400,
    maximum: 599,
    description: 'The HTTP status.',
    example: 400,
  })
  status!: number;

  @Text('What went wrong this time.', 'limit must be a whole number from 1 to 1000')
  detail!: string;

  @Text(
    'The path that was asked for; empty when the request could not be read.',
    '/api/v1/audit/events',
  )
  instance!: string;

  @Text('The kind of failure, for programs.', 'VALIDATION_FAILED', {
    enum: Object.keys(ERROR_TABLE),
  })
  code!: string;

  @Text(
    'The same as the header `X-Request-Id`: it finds the request in the log.',
    '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
  )
  requestId!: string;

  @ApiProperty({
    type: () => [FieldErrorDto],
    required: false,
    description: 'Every place of the input that is wrong.',
  })
  errors?: FieldErrorDto[];
}

interface Sample {
  detail: string;
  errors?: FieldError[];
}

const SAMPLES: Partial<Record<ErrorCode, Sample>> = {
  VALIDATION_FAILED: {
    detail: 'limit must be a whole number from 1 to 1000',
    errors: [{ path: 'limit', message: 'must be a whole number from 1 to 1000' }],
  },
  INVALID_CURSOR: {
    detail:
      'The cursor was changed, or belongs to another principal, filter or sort: start from the first page.',
    errors: [{ path: 'cursor', message: 'must be one that this very query returned' }],
  },
  MALFORMED_JSON: { detail: 'The body is not well-formed JSON: it breaks at line 3, column 14.' },
  UNAUTHENTICATED: { detail: 'A bearer token is required.' },
  FORBIDDEN: { detail: 'This needs the scope audit:read.' },
  NOT_FOUND: { detail: 'There is no event with this id.' },
  NOT_ACCEPTABLE: { detail: 'This service answers application/json.' },
  CONFLICT: {
    detail: 'An event with this id exists with other content.',
    errors: [{ path: 'id', message: 'exists in this organization with other content' }],
  },
  INCOMPATIBLE_SCHEMA: {
    detail:
      'schema/properties/metadata/required requires ward: version 1 may accept events that this one refuses.',
    errors: [{ path: 'schema/properties/metadata/required', message: 'requires ward' }],
  },
  TIMELINE_CHANGED: {
    detail:
      'The log of the organization "org-1" is on another timeline: its event 1042 is not the one of this position, or ' +
      'there is none (the database lost commits in a failover or a restore). Begin again from a position that still ' +
      'exists, or from 0.',
  },
  REQUEST_TOO_LARGE: {
    detail: 'The body is larger than 10 MB (REQUEST_MAX_SIZE_MB); send it in parts.',
  },
  UNSUPPORTED_MEDIA_TYPE: { detail: 'Send the body as Content-Type: application/json.' },
  IDEMPOTENCY_MISMATCH: {
    detail: 'This Idempotency-Key was used for a request with another body.',
  },
  RATE_LIMITED: { detail: 'No more than 6000 requests in 60 seconds: try again in 42 s.' },
  TOO_MANY_REQUESTS: { detail: 'Too many requests are waiting for their turn.' },
  QUEUE_TIMEOUT: { detail: 'The request waited too long for its turn.' },
  URI_TOO_LONG: { detail: 'The request target is longer than 12288 characters.' },
  DATABASE_UNAVAILABLE: { detail: 'The database cannot be used right now.' },
  AUTHENTICATION_UNAVAILABLE: {
    detail: 'The keys that verify tokens cannot be had at the moment.',
  },
  NOT_READY: { detail: 'The service is starting.' },
  REQUEST_TIMEOUT: { detail: 'The database did not answer in time.' },
  INTERNAL: { detail: 'The request failed for a reason on our side.' },
};

/** Problems before a request exists: without a path, and with the headers of every response alone. */
export const UNREADABLE_CODES: ReadonlySet<ErrorCode> = new Set([
  'CLIENT_TIMEOUT',
  'HEADERS_TOO_LARGE',
]);

/** The client has disconnected. */
const NEVER_SENT: ErrorCode = 'CLIENT_CLOSED';

/** Examples of all problems by code, for OpenAPI. */
export function problemExamples(): Record<string, { summary: string; value: Problem }> {
  const codes = (Object.keys(ERROR_TABLE) as ErrorCode[]).filter((code) => code !== NEVER_SENT);
  return Object.fromEntries(
    codes.map((code) => [code, { summary: ERROR_TABLE[code].title, value: exampleOf(code) }]),
  );
}

const EXAMPLE_ID = '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d';

function exampleOf(code: ErrorCode): Problem {
  const { detail, errors } = SAMPLES[code] ?? { detail: `${ERROR_TABLE[code].title}.` };
  const error = new AppError(code, detail, { errors });
  return UNREADABLE_CODES.has(code)
    ? problemOf(error, '', EXAMPLE_ID)
    : problemOf(error, '/api/v1/audit/events', EXAMPLE_ID);
}
