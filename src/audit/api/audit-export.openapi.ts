import { getSchemaPath } from '@nestjs/swagger';
import type { OperationDescription } from '../../http/operation.openapi';
import { FULL_RECORDED, MINIMAL_RECORDED } from './audit.examples';
import { AuditEventDto } from '../event/dto/responses.dto';

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
      'Names what follows the last row: `X-Export-Rows`, how many there were, and `X-Export-Complete: true`.',
    schema: { type: 'string', enum: ['X-Export-Rows, X-Export-Complete'] },
  },
};

export const EXPORT_EVENTS: OperationDescription = {
  summary: 'Export events',
  description:
    'All events of a list, however many, as one state of the database has them. If anything fails midway the ' +
    'connection is cut: an answer that ends as it should is whole. To go on after a break, ask again with ' +
    '`after_timestamp` and `after_id` of the last event received.',
  models: [AuditEventDto],
  responses: {
    200: {
      description: 'The events.',
      headers: EXPORT_HEADERS,
      content: {
        'application/json': {
          schema: { type: 'array', items: { $ref: getSchemaPath(AuditEventDto) } },
          examples: { events: { summary: 'Two events', value: [FULL_RECORDED, MINIMAL_RECORDED] } },
        },
        'application/x-ndjson': {
          schema: { $ref: getSchemaPath(AuditEventDto) },
        },
        'text/csv': {
          schema: {
            type: 'string',
            description:
              'A header row, then an event a row (RFC 4180). Null is an empty cell, the empty text is `""`; ' +
              '`sessionContext` and `metadata` are JSON text.',
          },
        },
      },
    },
  },
  errors: ['INVALID_CURSOR', 'NOT_FOUND', 'TIMELINE_CHANGED', 'TOO_MANY_REQUESTS'],
};
