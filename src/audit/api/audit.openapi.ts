import { applyDecorators } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiResponse } from '@nestjs/swagger';
import type { ErrorCode } from '../../platform/errors/error-table';
import { ApiCached, CACHED_HEADERS } from '../../caching/cache.openapi';
import { ApiProblems, headersWith } from '../../http/problems/problem.openapi';
import { ApiRoute, COMMON_ERRORS } from '../../http/route.openapi';
import {
  BULK_ANSWER,
  BULK_REQUEST,
  FULL_EVENT,
  FULL_RECORDED,
  MINIMAL_EVENT,
  MINIMAL_RECORDED,
  PAGES,
} from './audit.examples';
import { AuditEventDto, AuditEventPageDto, BulkCreateResultDto } from '../event/dto/responses.dto';
import { ApiNdjson } from './ndjson.openapi';
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from '../event/dto/create-audit-event.dto';

const WRITING: ErrorCode[] = [
  'MALFORMED_JSON',
  'CONFLICT',
  'REQUEST_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_MISMATCH',
  'TOO_MANY_REQUESTS',
];

const LOCATION = {
  Location: {
    description: 'Where the event is.',
    schema: {
      type: 'string' as const,
      format: 'uri-reference',
      example: '/api/v1/audit/events/019ab1c2-3e4a-7000-8000-1234567890ab',
    },
  },
};

const REPLAYED = {
  'Idempotency-Replayed': {
    description: 'There when this answer was given before and is given again, byte for byte.',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

const LINK = {
  Link: {
    description: 'Links to the first, previous and next page (RFC 8288), relative to this service.',
    schema: {
      type: 'string' as const,
      example: '</api/v1/audit/events?limit=50>; rel="first"',
    },
  },
};

function ApiWrite(): MethodDecorator {
  return applyDecorators(
    ApiHeader({
      name: 'Idempotency-Key',
      required: false,
      description:
        'A key of your own for this request. A retry with the same key and body gets the first answer again, for ' +
        'at least 24 hours; another body under the same key is refused.',
      schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[ -~]+$' },
    }),
    ApiHeader({
      name: 'Content-Encoding',
      required: false,
      description: 'How the body is compressed. The size limit holds for what it becomes.',
      schema: { type: 'string', enum: ['identity', 'gzip', 'deflate', 'br'] },
    }),
    ApiProblems(...COMMON_ERRORS, ...WRITING),
  );
}

/** Documents the route that records one event. */
export function ApiCreate(): MethodDecorator {
  const examples = {
    minimal: { summary: 'Only what is required', value: MINIMAL_RECORDED },
    full: { summary: 'Everything', value: FULL_RECORDED },
  };
  return applyDecorators(
    ApiRoute(
      'audit:write',
      'Record one event',
      'Answered after the commit: what is acknowledged is stored.',
    ),
    ApiBody({
      type: CreateAuditEventDto,
      description: 'The event.',
      examples: {
        minimal: { summary: 'Only what is required', value: MINIMAL_EVENT },
        full: { summary: 'Everything', value: FULL_EVENT },
      },
    }),
    ApiResponse({
      status: 201,
      description: 'Recorded.',
      type: AuditEventDto,
      headers: { ...headersWith(), ...LOCATION, ...REPLAYED },
      examples,
    }),
    ApiResponse({
      status: 200,
      description: 'An event with this id and content exists already; this is it.',
      type: AuditEventDto,
      headers: { ...headersWith(), ...LOCATION, ...REPLAYED },
      examples: { full: examples.full },
    }),
    ApiWrite(),
  );
}

/** Documents the route that records many events. */
export function ApiCreateBulk(): MethodDecorator {
  return applyDecorators(
    ApiRoute(
      'audit:write',
      'Record many events, all or none',
      'One transaction. One bad event fails the request: the answer names every bad index and path, and nothing is ' +
        'stored.\n\nAs `application/x-ndjson`, an event a line, it may be of any length: it is stored in transactions of ' +
        'up to BULK_MAX_EVENTS lines, each all or none, and each line is answered once it is decided. Without ' +
        '`Idempotency-Key`: give each event an `id` of its own instead.',
    ),
    ApiBody({
      type: BulkCreateAuditEventsDto,
      description: 'The events.',
      examples: { bulk: { summary: 'Two events', value: BULK_REQUEST } },
    }),
    ApiNdjson(),
    ApiResponse({
      status: 201,
      description: 'All are recorded.',
      type: BulkCreateResultDto,
      headers: { ...headersWith(), ...REPLAYED },
      examples: { bulk: { summary: 'One new event and one that was there', value: BULK_ANSWER } },
    }),
    ApiWrite(),
  );
}

/** Documents the list of events. */
export function ApiFindPage(): MethodDecorator {
  return applyDecorators(
    ApiRoute(
      'audit:read',
      'List events',
      'A page of the events of your organizations, newest first unless asked otherwise. Go on with `nextCursor` or ' +
        'the `Link` header; `offset` and `cursor` exclude each other. A page has at most 32 MiB: of events with large ' +
        '`metadata` ask for fewer at once, or export them.',
    ),
    ApiResponse({
      status: 200,
      description: 'The page.',
      type: AuditEventPageDto,
      headers: { ...headersWith(), ...CACHED_HEADERS, ...LINK },
      examples: PAGES,
    }),
    ApiCached(),
    ApiProblems(...COMMON_ERRORS, 'INVALID_CURSOR', 'TIMELINE_CHANGED', 'REQUEST_TOO_LARGE'),
  );
}

/** Documents the route of one event. */
export function ApiFindById(): MethodDecorator {
  return applyDecorators(
    ApiRoute(
      'audit:read',
      'Show one event',
      "Another organization's event is answered as if it were not there. An id that events of several organizations of " +
        'the token have is `CONFLICT`, and `errors` names the organizations: choose one with `organization_ids`.',
    ),
    ApiResponse({
      status: 200,
      description: 'The event.',
      type: AuditEventDto,
      headers: { ...headersWith(), ...CACHED_HEADERS },
      examples: { full: { summary: 'An event', value: FULL_RECORDED } },
    }),
    ApiCached(),
    ApiProblems(...COMMON_ERRORS, 'NOT_FOUND', 'CONFLICT'),
  );
}
