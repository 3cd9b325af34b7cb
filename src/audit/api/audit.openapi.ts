import { getSchemaPath } from '@nestjs/swagger';
import type { ErrorCode } from '../../platform/errors/app-error';
import { CACHED_READ } from '../../caching/cache.openapi';
import type { OperationDescription } from '../../http/operation.openapi';
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
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { IngestSummaryDto, RejectedLineDto, StoredLineDto } from '../ingest/dto/receipts.dto';

const WRITING: ErrorCode[] = [
  'MALFORMED_JSON',
  'CONFLICT',
  'REQUEST_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_MISMATCH',
  'TOO_MANY_REQUESTS',
];

const WRITE_HEADERS = {
  'Idempotency-Key': {
    description:
      'A key of your own for this request. A retry with the same key and body gets the first answer again, for ' +
      'at least 24 hours; another body under the same key is refused.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[ -~]+$' },
  },
  'Content-Encoding': {
    description: 'How the body is compressed. The size limit holds for what it becomes.',
    schema: { type: 'string', enum: ['identity', 'gzip', 'deflate', 'br'] },
  },
};

const LOCATION = {
  Location: {
    description: 'Where the event is.',
    schema: {
      type: 'string',
      format: 'uri-reference',
      example: '/api/v1/audit/events/019ab1c2-3e4a-7000-8000-1234567890ab',
    },
  },
};

const REPLAYED = {
  'Idempotency-Replayed': {
    description: 'There when this answer was given before and is given again, byte for byte.',
    schema: { type: 'string', enum: ['true'] },
  },
};

const LINK = {
  Link: {
    description: 'Links to the first, previous and next page (RFC 8288), relative to this service.',
    schema: { type: 'string', example: '</api/v1/audit/events?limit=50>; rel="first"' },
  },
};

export const CREATE_EVENT: OperationDescription = {
  summary: 'Record one event',
  description: 'Answered after the commit: what is acknowledged is stored.',
  requestHeaders: WRITE_HEADERS,
  body: {
    type: CreateAuditEventDto,
    description: 'The event.',
    examples: {
      minimal: { summary: 'Only what is required', value: MINIMAL_EVENT },
      full: { summary: 'Everything', value: FULL_EVENT },
    },
  },
  responses: {
    201: {
      description: 'Recorded.',
      type: AuditEventDto,
      headers: { ...LOCATION, ...REPLAYED },
      examples: {
        minimal: { summary: 'Only what is required', value: MINIMAL_RECORDED },
        full: { summary: 'Everything', value: FULL_RECORDED },
      },
    },
    200: {
      description: 'An event with this id and content exists already; this is it.',
      type: AuditEventDto,
      headers: { ...LOCATION, ...REPLAYED },
      examples: { full: { summary: 'Everything', value: FULL_RECORDED } },
    },
  },
  errors: WRITING,
};

const RECEIPTS = [StoredLineDto, RejectedLineDto, IngestSummaryDto];

export const CREATE_BULK: OperationDescription = {
  summary: 'Record many events, all or none',
  description:
    'One transaction. One bad event fails the request: the answer names every bad index and path, and nothing is ' +
    'stored.\n\nAs `application/x-ndjson`, an event a line, it may be of any length: it is stored in transactions of ' +
    'up to BULK_MAX_EVENTS lines, each all or none, and each line is answered once it is decided. Without ' +
    '`Idempotency-Key`: give each event an `id` of its own instead.',
  requestHeaders: WRITE_HEADERS,
  body: {
    type: BulkCreateAuditEventsDto,
    description: 'The events.',
    examples: { bulk: { summary: 'Two events', value: BULK_REQUEST } },
  },
  moreBodies: {
    'application/x-ndjson': {
      // The schema of a line: OpenAPI 3.1 has none for a sequence of values (3.2: itemSchema).
      schema: { $ref: getSchemaPath(CreateAuditEventDto) },
      examples: {
        minimal: { summary: 'A line', value: MINIMAL_EVENT },
        full: { summary: 'A line with everything', value: FULL_EVENT },
      },
    },
  },
  models: [CreateAuditEventDto, ...RECEIPTS],
  responses: {
    200: {
      description:
        'The receipts of NDJSON, one a line, in the order of its lines, as they are decided; last the summary, without ' +
        'which the answer is not whole: lines that have no receipt by then may be stored or not, and are to be sent again ' +
        'with the same ids. The schema is that of a line.',
      content: {
        'application/x-ndjson': {
          schema: { oneOf: RECEIPTS.map((type) => ({ $ref: getSchemaPath(type) })) },
        },
      },
    },
    201: {
      description: 'All are recorded.',
      type: BulkCreateResultDto,
      headers: REPLAYED,
      examples: { bulk: { summary: 'One new event and one that was there', value: BULK_ANSWER } },
    },
  },
  errors: WRITING,
};

export const FIND_PAGE: OperationDescription = {
  summary: 'List events',
  description:
    'A page of the events of your organizations, newest first unless asked otherwise. Go on with `nextCursor` or ' +
    'the `Link` header; `offset` and `cursor` exclude each other. A page has at most 32 MiB: of events with large ' +
    '`metadata` ask for fewer at once, or export them.',
  requestHeaders: CACHED_READ.requestHeaders,
  responses: {
    200: {
      description: 'The page.',
      type: AuditEventPageDto,
      headers: { ...CACHED_READ.responseHeaders, ...LINK },
      examples: PAGES,
    },
    304: CACHED_READ.notModified,
  },
  errors: ['INVALID_CURSOR', 'TIMELINE_CHANGED', 'REQUEST_TOO_LARGE'],
};

export const FIND_BY_ID: OperationDescription = {
  summary: 'Show one event',
  description:
    "Another organization's event is answered as if it were not there. An id that events of several organizations of " +
    'the token have is `CONFLICT`, and `errors` names the organizations: choose one with `organization_ids`.',
  pathParameters: [
    {
      name: 'id',
      description: 'The id of the event.',
      schema: { type: 'string', format: 'uuid', example: '019ab1c2-3e4a-7000-8000-1234567890ab' },
    },
  ],
  requestHeaders: CACHED_READ.requestHeaders,
  responses: {
    200: {
      description: 'The event.',
      type: AuditEventDto,
      headers: CACHED_READ.responseHeaders,
      examples: { full: { summary: 'An event', value: FULL_RECORDED } },
    },
    304: CACHED_READ.notModified,
  },
  errors: ['NOT_FOUND', 'CONFLICT'],
};
