import { applyDecorators } from '@nestjs/common';
import { ApiExtension, ApiExtraModels, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { headersWith } from '../../http/problems/problem.openapi';
import { REQUEST_BODIES } from '../../http/route.openapi';
import { FULL_EVENT, MINIMAL_EVENT } from './audit.examples';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { IngestSummaryDto, RejectedLineDto, StoredLineDto } from '../ingest/dto/receipts.dto';

const RECEIPTS = [StoredLineDto, RejectedLineDto, IngestSummaryDto];

/** Documents that a route takes NDJSON as well, and what it answers to that. */
export function ApiNdjson(): MethodDecorator {
  return applyDecorators(
    ApiExtraModels(CreateAuditEventDto, ...RECEIPTS),
    ApiExtension(REQUEST_BODIES, {
      'application/x-ndjson': {
        // What one line holds; OpenAPI 3.1 has no word for a sequence of values (3.2: itemSchema).
        schema: { $ref: getSchemaPath(CreateAuditEventDto) },
        examples: {
          minimal: { summary: 'A line', value: MINIMAL_EVENT },
          full: { summary: 'A line with everything', value: FULL_EVENT },
        },
      },
    }),
    ApiResponse({
      status: 200,
      description:
        'The receipts of NDJSON, one a line, in the order of its lines, as they are decided; last the summary, without ' +
        'which the answer is not whole: lines that have no receipt by then may be stored or not, and are to be sent again ' +
        'with the same ids. The schema is that of a line.',
      headers: headersWith(),
      content: {
        'application/x-ndjson': {
          schema: { oneOf: RECEIPTS.map((type) => ({ $ref: getSchemaPath(type) })) },
        },
      },
    }),
  );
}
