import { ApiProperty, getSchemaPath } from '@nestjs/swagger';
import type { OperationDescription } from '../../http/operation.openapi';
import { CODED_BODY, ORGANIZATION } from './audit.openapi';

/** google.rpc.Status, the body of errors of OTLP. */
export class RpcStatusDto {
  @ApiProperty({ type: 'integer', description: 'A code of gRPC.', example: 3 })
  code!: number;

  @ApiProperty({ type: String, description: 'What is wrong.', example: 'eventName is required' })
  message!: string;
}

const ATTRIBUTE = {
  type: 'object',
  properties: {
    key: { type: 'string' },
    value: { type: 'object', properties: { stringValue: { type: 'string' } } },
  },
};

const LOG_RECORD = {
  type: 'object',
  properties: {
    timeUnixNano: { type: 'string', pattern: '^[0-9]{1,19}$' },
    observedTimeUnixNano: { type: 'string', pattern: '^[0-9]{1,19}$' },
    severityNumber: { type: 'integer', minimum: 0, maximum: 24 },
    severityText: { type: 'string' },
    eventName: { type: 'string', minLength: 1, maxLength: 255 },
    body: { type: 'object', properties: { stringValue: { type: 'string' } } },
    attributes: { type: 'array', items: ATTRIBUTE },
    traceId: { type: 'string', pattern: '^[0-9a-fA-F]{32}$' },
    spanId: { type: 'string', pattern: '^[0-9a-fA-F]{16}$' },
  },
};

const REQUEST = {
  type: 'object',
  description: 'ExportLogsServiceRequest of OTLP 1 in JSON; unknown members are ignored.',
  properties: {
    resourceLogs: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          resource: {
            type: 'object',
            properties: { attributes: { type: 'array', items: ATTRIBUTE } },
          },
          scopeLogs: {
            type: 'array',
            items: {
              type: 'object',
              properties: {
                scope: { type: 'object', properties: { name: { type: 'string' } } },
                logRecords: { type: 'array', items: LOG_RECORD },
              },
            },
          },
        },
      },
    },
  },
};

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });

const EXAMPLE = {
  resourceLogs: [
    {
      resource: { attributes: [text('service.name', 'billing')] },
      scopeLogs: [
        {
          scope: { name: 'audit' },
          logRecords: [
            {
              timeUnixNano: '1795429800123456789',
              eventName: 'invoice.approve',
              attributes: [text('user.id', 'user-1'), text('organization.id', 'org-1')],
            },
          ],
        },
      ],
    },
  ],
};

export const EXPORT_LOGS: OperationDescription = {
  id: 'exportLogs',
  summary: 'Record log records of OpenTelemetry',
  description:
    'OTLP/HTTP in JSON, or in protobuf (`application/x-protobuf`): exporters take the address of this service as their endpoint. Each record with an event name is an event. ' +
    'All of a request are stored in one transaction, and answered after the commit; records that are no events, or of an ' +
    'organization that is not of the token, are counted in `partialSuccess`. A request of which no record can be stored is ' +
    'refused. Answers and errors (google.rpc.Status) have the encoding of the request. A record has an id of its own in the ' +
    'attribute `log.record.uid`, else one made of all of its content, so a retry stores nothing twice.',
  requestHeaders: { ...ORGANIZATION, ...CODED_BODY },
  body: {
    schema: REQUEST,
    description: 'The records.',
    examples: { record: { summary: 'A record', value: EXAMPLE } },
  },
  responses: {
    200: {
      description: 'Recorded, but for the rejected records.',
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: {
              partialSuccess: {
                type: 'object',
                properties: {
                  rejectedLogRecords: { type: 'string', pattern: '^[0-9]+$' },
                  errorMessage: { type: 'string' },
                },
                required: ['rejectedLogRecords', 'errorMessage'],
              },
            },
          },
          examples: {
            all: { summary: 'All are recorded', value: {} },
            partly: {
              summary: 'One is rejected',
              value: {
                partialSuccess: {
                  rejectedLogRecords: '1',
                  errorMessage:
                    'resourceLogs[0].scopeLogs[0].logRecords[3].eventName is required, or the attribute event.name: a record without either is no event',
                },
              },
            },
          },
        },
      },
    },
  },
  errors: ['MALFORMED_JSON', 'CONFLICT', 'REQUEST_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
  errorContent: { 'application/json': { schema: { $ref: getSchemaPath(RpcStatusDto) } } },
  models: [RpcStatusDto],
};
