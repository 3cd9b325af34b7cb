import type { Type } from '@nestjs/common';
import { getSchemaPath } from '@nestjs/swagger';
import { CACHED_READ } from '../../caching/cache.openapi';
import {
  NDJSON_TYPE,
  ndjsonOf,
  NO_STORE,
  type OperationDescription,
} from '../../http/operation.openapi';
import type { ErrorCode } from '../../platform/errors/app-error';
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { CloudEventDto, EcsEventDto, OcsfEventDto } from '../export/dto/exported-event.dto';
import { AuditEventCountsDto } from '../read/dto/audit-event-counts.dto';
import { AuditEventDto, AuditEventPageDto, BulkCreateResultDto } from '../event/dto/responses.dto';
import { IngestSummaryDto, RejectedLineDto, StoredLineDto } from '../ingest/dto/receipts.dto';

/* OpenAPI descriptions of the routes of events, after the requests and responses that they show. */

const RECORDED = {
  id: '019ab1c2-3e4a-7000-8000-1234567890ab',
  timestamp: '2026-11-23T10:30:00.123456Z',
  recordedAt: '2026-11-23T10:30:00.234567Z',
  sequence: '1042',
};

const MINIMAL_EVENT = {
  organizationId: 'org-1',
  action: 'user.login',
  status: 'success',
};

const FULL_EVENT = {
  id: '0198c1f2-3e4a-7000-8000-1234567890ab',
  timestamp: '2026-11-23T11:30:00.123456+01:00',
  organizationId: 'org-1',
  principalId: 'user-1',
  action: 'fhirPatientRead',
  targetResourceType: 'Patient',
  targetResourceId: 'pat-1',
  status: 'success',
  outcomeDescription: 'Opened the chart',
  dataClassification: 'PHI',
  correlationId: 'req-7f3a',
  sessionContext: {
    sessionId: 's-81f3',
    ipAddress: '198.51.100.7',
    userAgent: 'curl/8.5.0',
    geolocation: 'Zürich, CH',
  },
  metadata: { ward: 'B2', durationMs: 12.5 },
  principalType: 'user',
  principalName: 'Ada Lovelace',
  targets: [
    { type: 'Patient', id: 'pat-1', name: 'Grace Hopper' },
    { type: 'Ward', id: 'ward-b2' },
  ],
  changes: [{ path: '/address/city', old: 'Zürich', new: 'Bern' }],
  source: { service: 'clinic-api', host: 'clinic-api-7d9f', version: '4.12.0' },
  schemaVersion: '2',
};

const MINIMAL_RECORDED = {
  ...RECORDED,
  organizationId: 'org-1',
  principalId: null,
  action: 'user.login',
  targetResourceType: null,
  targetResourceId: null,
  status: 'success',
  outcomeDescription: null,
  dataClassification: 'INTERNAL',
  correlationId: null,
  sessionContext: null,
  metadata: null,
};

const FULL_RECORDED = {
  ...RECORDED,
  ...FULL_EVENT,
  timestamp: '2026-11-23T10:30:00.123456Z',
};

const BULK_REQUEST = { events: [MINIMAL_EVENT, FULL_EVENT], batchSize: 1000 };

/** Response to BULK_REQUEST when its second event exists. */
const BULK_ANSWER = {
  created: 1,
  duplicates: 1,
  batches: 1,
  results: [
    { index: 0, id: RECORDED.id, sequence: '1043', status: 'created' },
    { index: 1, id: FULL_EVENT.id, sequence: '1042', status: 'duplicate' },
  ],
  performance: { totalTime: 1.874, averageTimePerEvent: 0.937, concurrencyUtilization: 33.333 },
};

const CURSOR = 'yS3vZ0m8Jq1uQ2dN5pX7aVtyYWxzZSx7InRpbWVzdGFtcCI6IjIwMjYtMTEtMjNUMTA';

const PAGES = {
  first: {
    summary: 'The first page, with a total',
    value: {
      data: [FULL_RECORDED],
      pagination: {
        limit: 1,
        offset: 0,
        total: 128,
        totalIsExact: true,
        hasNext: true,
        hasPrevious: false,
        nextCursor: CURSOR,
      },
    },
  },
  byCursor: {
    summary: 'A page by cursor',
    value: {
      data: [MINIMAL_RECORDED],
      pagination: {
        limit: 1,
        hasNext: true,
        hasPrevious: true,
        nextCursor: CURSOR,
        previousCursor: CURSOR,
      },
    },
  },
  partial: {
    summary: 'A part of a page: the time for the search was over',
    value: {
      data: [],
      pagination: {
        limit: 50,
        hasNext: true,
        hasPrevious: true,
        partial: true,
        nextCursor: CURSOR,
        previousCursor: CURSOR,
      },
    },
  },
  last: {
    summary: 'The last page of an ascending list',
    value: {
      data: [MINIMAL_RECORDED],
      pagination: { limit: 50, hasNext: false, hasPrevious: true, resumeCursor: CURSOR },
    },
  },
};

const WRITING: ErrorCode[] = [
  'MALFORMED_JSON',
  'CONFLICT',
  'REQUEST_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_MISMATCH',
];

export const CODED_BODY = {
  'Content-Encoding': {
    description: 'How the body is compressed. The size limit holds for what it becomes.',
    schema: { type: 'string', enum: ['identity', 'gzip', 'deflate', 'br'] },
  },
};

export const ORGANIZATION = {
  'X-Organization-Id': {
    description:
      'The organization of CloudEvents and log records that name none, percent-encoded; left out: the only one of the token.',
    schema: { type: 'string', minLength: 1, maxLength: 255 * 12 },
  },
};

const WRITE_HEADERS = {
  ...ORGANIZATION,
  'Idempotency-Key': {
    description:
      'A key of your own for this request. A retry with the same key and body gets the first answer again, for ' +
      'at least 24 hours; another body under the same key is refused.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[ -~]+$' },
  },
  ...CODED_BODY,
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
  id: 'createEvent',
  summary: 'Record one event',
  description:
    'Answered after the commit: what is acknowledged is stored.\n\nA CloudEvent is recorded as an event, in structured mode ' +
    '(`application/cloudevents+json`) or in binary mode (headers `ce-id`, `ce-source`, `ce-type`, `ce-specversion` …, with ' +
    'its data as the body). Its `source` and `id` make the id of the event, so a retry is a duplicate.',
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

export const CREATE_BULK: OperationDescription = {
  id: 'createEvents',
  summary: 'Record many events, all or none',
  description:
    'One transaction. One bad event fails the request: the answer names every bad index and path, and nothing is ' +
    'stored.\n\n`application/x-ndjson` is taken here too, and answered as by `POST /api/v1/audit/events/ingest`; a batch of ' +
    'CloudEvents is answered as the events that it stands for.',
  requestHeaders: WRITE_HEADERS,
  body: {
    type: BulkCreateAuditEventsDto,
    description: 'The events.',
    examples: { bulk: { summary: 'Two events', value: BULK_REQUEST } },
  },
  responses: {
    201: {
      description: 'All are recorded.',
      type: BulkCreateResultDto,
      headers: REPLAYED,
      examples: { bulk: { summary: 'One new event and one that was there', value: BULK_ANSWER } },
    },
  },
  errors: WRITING,
};

const lines = (...values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

const RECEIPTS = lines(
  { line: 1, id: RECORDED.id, sequence: '1043', status: 'created' },
  { line: 2, id: FULL_EVENT.id, sequence: '1042', status: 'duplicate' },
  { summary: { created: 1, duplicates: 1, rejected: 0 } },
);

export const INGEST_EVENTS: OperationDescription = {
  id: 'ingestEvents',
  summary: 'Record a stream of events, with a receipt for each',
  description:
    'An event a line, however many: stored in transactions of up to BULK_MAX_EVENTS lines, each all or none, and each ' +
    'line is answered once it is decided. Read the answer while you send. There is no `Idempotency-Key`: give each ' +
    'event an `id` of its own instead.',
  requestHeaders: CODED_BODY,
  bodyType: NDJSON_TYPE,
  body: {
    schema: ndjsonOf(CreateAuditEventDto),
    description: 'The events, one a line.',
    examples: { lines: { summary: 'Two events', value: lines(MINIMAL_EVENT, FULL_EVENT) } },
  },
  models: [CreateAuditEventDto, StoredLineDto, RejectedLineDto, IngestSummaryDto],
  responses: {
    200: {
      description:
        'The receipts, one a line, in the order of the lines, as they are decided; last the summary, without which the ' +
        'answer is not whole: lines that have no receipt by then may be stored or not, and are to be sent again with ' +
        'the same ids.',
      content: {
        [NDJSON_TYPE]: {
          schema: ndjsonOf(StoredLineDto, RejectedLineDto, IngestSummaryDto),
          examples: { receipts: { summary: 'One new, one that was there', value: RECEIPTS } },
        },
      },
    },
  },
  errors: ['UNSUPPORTED_MEDIA_TYPE'],
};

export const FIND_PAGE: OperationDescription = {
  id: 'listEvents',
  summary: 'List events',
  description:
    'A page of the events of your organizations, newest first unless asked otherwise. Go on with `nextCursor` or ' +
    'the `Link` header; `offset` and `cursor` exclude each other. To poll, sort ascending by `sequence` and come back to ' +
    'the last page with its `resumeCursor`. A page has at most 32 MiB: of events with large ' +
    '`metadata` or `changes` ask for fewer at once, or export them.\n\nA search for events of a rare value looks at many others. When its ' +
    'time is over (READ_BUDGET_MS, 5 seconds unless configured) the page has what was found so far, perhaps nothing, with `partial`, and ' +
    '`nextCursor` goes on where the search ended: pages put together this way are the whole list.',
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

const COUNTS = {
  byAction: {
    summary: 'By action',
    value: {
      by: 'action',
      counts: [
        { value: 'user.login', count: 128 },
        { value: 'fhirPatientRead', count: 12 },
      ],
      total: 140,
      distinct: 2,
      countIsExact: true,
    },
  },
  byDay: {
    summary: 'By day of a time zone',
    value: {
      by: 'day',
      counts: [
        {
          value: '2026-11-23',
          count: 140,
          startDate: '2026-11-22T23:00:00.000000Z',
          endDate: '2026-11-23T23:00:00.000000Z',
        },
      ],
      total: 140,
      distinct: 1,
      countIsExact: true,
    },
  },
  inexact: {
    summary: 'When the time for the count was over',
    value: {
      by: 'principal',
      counts: [
        { value: 'user-1', count: 91_200 },
        { value: null, count: 311 },
      ],
      total: 91_511,
      distinct: 2,
      countIsExact: false,
      countedFrom: '2026-11-16T10:30:00.000000Z',
    },
  },
};

export const COUNT_EVENTS: OperationDescription = {
  id: 'listEventCounts',
  summary: 'Count events by value or by time',
  description:
    'How many events of your organizations there are for each value, or each day or hour: with the filters of lists, from one snapshot. ' +
    'A range may have at most 1200 days or hours.',
  requestHeaders: CACHED_READ.requestHeaders,
  responses: {
    200: {
      description: 'The counts.',
      type: AuditEventCountsDto,
      headers: CACHED_READ.responseHeaders,
      examples: COUNTS,
    },
    304: CACHED_READ.notModified,
  },
};

export const FIND_BY_ID: OperationDescription = {
  id: 'getEvent',
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

const EXPORT_HEADERS = {
  'Content-Disposition': {
    description: 'A file name that tells range, time and format.',
    schema: {
      type: 'string',
      example: 'attachment; filename="audit-events_all_at-20261125T021500Z.ndjson"',
    },
  },
  'X-Export-Snapshot': {
    description:
      'When the state of the database was taken that the export shows, and PostgreSQL’s name for it (xmin:xmax:xip).',
    schema: { type: 'string', example: '2026-11-25T02:15:00.123456Z 765:765:' },
  },
  Trailer: {
    description:
      'Names what follows the last row: `X-Export-Rows`, how many there were, `X-Export-Complete: true`, and for CSV ' +
      '`X-Export-Long-Cells`, how many cells have more than the 32 767 characters that a spreadsheet holds.',
    schema: {
      type: 'string',
      enum: [
        'X-Export-Rows, X-Export-Complete',
        'X-Export-Rows, X-Export-Complete, X-Export-Long-Cells',
      ],
    },
  },
};

const arrayOf = (type: Type) => ({ type: 'array', items: { $ref: getSchemaPath(type) } });

export const EXPORT_EVENTS: OperationDescription = {
  id: 'exportEvents',
  summary: 'Export events',
  description:
    'All events of a list, however many, as one state of the database has them. If anything fails midway the ' +
    'connection is cut: an answer that ends as it should is whole. To go on after a break, ask again with ' +
    '`after_timestamp` and `after_id` of the last event received. `schema` and `format=cef` write events in the forms of ' +
    'other systems: CloudEvents, OCSF, ECS, CEF.',
  models: [AuditEventDto, CloudEventDto, OcsfEventDto, EcsEventDto],
  responses: {
    200: {
      description: 'The events.',
      headers: EXPORT_HEADERS,
      content: {
        'application/json': {
          // An array is of one form; an empty one is of each, which `oneOf` would refuse.
          schema: {
            anyOf: [arrayOf(AuditEventDto), arrayOf(OcsfEventDto), arrayOf(EcsEventDto)],
            description: 'Events (`schema=native`), OCSF (`schema=ocsf`) or ECS (`schema=ecs`).',
          },
          examples: { events: { summary: 'Two events', value: [FULL_RECORDED, MINIMAL_RECORDED] } },
        },
        [NDJSON_TYPE]: {
          schema: ndjsonOf(AuditEventDto, CloudEventDto, OcsfEventDto, EcsEventDto),
        },
        'application/cloudevents-batch+json': {
          schema: {
            ...arrayOf(CloudEventDto),
            description: 'CloudEvents 1.0 (`schema=cloudevents`), with the events in `data`.',
          },
        },
        'text/plain': {
          schema: { type: 'string', description: 'Lines of CEF (`format=cef`).' },
        },
        'text/csv': {
          schema: {
            type: 'string',
            description:
              'A header row, then an event a row (RFC 4180). Null is an empty cell, the empty text is `""`; ' +
              '`sessionContext`, `metadata`, `targets`, `changes` and `source` are JSON text.',
          },
        },
      },
    },
  },
  errors: ['INVALID_CURSOR', 'NOT_FOUND', 'TIMELINE_CHANGED'],
};

export const TAIL_EVENTS: OperationDescription = {
  id: 'followEvents',
  summary: 'Follow events as they are recorded',
  description:
    'Server-sent events: each recorded event that the filter lets through is a message `audit.event` with the event as ' +
    'JSON, in the order of its organization’s sequence, on whichever replica it was recorded. A client that connects ' +
    'again with the last `id` misses nothing and gets nothing twice; `EventSource` of browsers does so with a new ticket ' +
    'and the `id` as `after_sequence`. Comments keep the ' +
    'connection alive. A message `error` with a problem document ends the stream when the token expires ' +
    '(`UNAUTHENTICATED`), events are not taken as fast as they come (`SLOW_CONSUMER`), or the database has lost events ' +
    'that this stream has given (`TIMELINE_CHANGED`); an `id` from before such a loss, or ahead of the log, is refused with 409, ' +
    'which names the last event that there is. A stream of more than 100 organizations, or of all, goes on with those that ' +
    'appeared meanwhile; only if more than 100 recorded in the seconds before the break, the last events of some come again.',
  requestHeaders: {
    'Last-Event-ID': {
      description: 'The `id` of the last message that was received.',
      schema: { type: 'string', maxLength: 4096 },
    },
  },
  responses: {
    200: {
      description: 'The events, for as long as the client reads them.',
      headers: NO_STORE,
      content: {
        'text/event-stream': {
          schema: {
            type: 'string',
            description: 'Messages of `id`, `event` and `data`, an empty line after each.',
          },
        },
      },
    },
  },
  errors: ['INVALID_CURSOR', 'TIMELINE_CHANGED'],
};
