import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { isNdjson } from '../../http/ndjson-body';
import { Operation } from '../../http/operation.openapi';
import { measureToFirstByte } from '../../http/request-times';
import { AppError } from '../../platform/errors/app-error';
import { EventIngest } from '../ingest/event-ingest';
import { INGEST_EVENTS } from './audit.openapi';

/**
 * NDJSON ingest over REST. The bulk route takes NDJSON too (bulk-body.ts). This route is an operation with one kind of
 * request and response, as generators of clients need it; it has no second path.
 */
@ApiTags('audit events')
@Controller('audit/events')
export class AuditIngestController {
  constructor(private readonly events: EventIngest) {}

  @Post('ingest')
  @HttpCode(200)
  @Scopes('audit:write')
  @Operation(INGEST_EVENTS)
  async ingest(
    @CurrentPrincipal() principal: Principal,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    if (!isNdjson(request.headers['content-type'])) {
      const detail =
        'Send the events as Content-Type: application/x-ndjson, one a line; a JSON document goes to /audit/events/bulk.';
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', detail);
    }
    measureToFirstByte(response); // receipts come as long as lines do
    await this.events.serve(principal, request, response);
  }
}
