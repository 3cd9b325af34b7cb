import {
  Body,
  Controller,
  Get,
  Param,
  Post,
  Query,
  Req,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { CurrentPrincipal } from '../../auth/current-principal.decorator';
import type { Principal } from '../../auth/principal';
import { Scopes } from '../../auth/scopes.decorator';
import { Cached } from '../../caching/cached.decorator';
import { LimitConcurrency } from '../../concurrency/limit-concurrency.decorator';
import type { BodyRequest } from '../../http/body-reader';
import { JsonBodyInterceptor } from '../../http/json-body.interceptor';
import { Operation } from '../../http/operation.openapi';
import { RequestSignal } from '../../http/request-signal';
import { Procedure } from '../../http/procedure.decorator';
import { AuditEventResponse } from '../read/audit-event-page';
import { CREATE_BULK, CREATE_EVENT, FIND_BY_ID, FIND_PAGE } from './audit.openapi';
import { AUDIT_ROUTES } from './audit.routes';
import { AuditService } from '../write/audit.service';
import { CachedEvents, CachedPages } from '../read/cached-reads';
import { BulkBody } from './bulk-body.decorator';
import { AuditEventQuery, AuditEventsQuery } from '../read/dto/audit-events-query.dto';
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { idempotencyClaimOf } from '../write/idempotency-claim';
import type { Recorded } from '../write/write-batch';

/** The REST door to audit events. */
@ApiTags('audit events')
@Controller(AUDIT_ROUTES)
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Post()
  @Scopes('audit:write')
  @LimitConcurrency()
  @UseInterceptors(JsonBodyInterceptor)
  @Operation(CREATE_EVENT)
  async create(
    @CurrentPrincipal() principal: Principal,
    @Body() event: CreateAuditEventDto,
    @Req() request: BodyRequest,
    @RequestSignal() signal: AbortSignal | undefined,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AuditEventResponse> {
    const claim = idempotencyClaimOf(request, principal, 'event');
    return respond(response, await this.audit.create(principal, event, { claim, signal }));
  }

  @Post('bulk')
  @Procedure('performance.bulkCreateAuditEvents')
  @Scopes('audit:write')
  @BulkBody()
  @Operation(CREATE_BULK)
  async createBulk(
    @CurrentPrincipal() principal: Principal,
    @Body() bulk: BulkCreateAuditEventsDto,
    @Req() request: BodyRequest,
    @RequestSignal() signal: AbortSignal | undefined,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AuditEventResponse> {
    const claim = idempotencyClaimOf(request, principal, 'bulk');
    return respond(response, await this.audit.createBulk(principal, bulk, { claim, signal }));
  }

  @Get()
  @Scopes('audit:read')
  @Cached(CachedPages)
  @Operation(FIND_PAGE)
  findPage(@Query() _query: AuditEventsQuery): void {}

  @Get(':id')
  @Scopes('audit:read')
  @Cached(CachedEvents)
  @Operation(FIND_BY_ID)
  findById(@Param('id') _id: string, @Query() _query: AuditEventQuery): void {}
}

/** The headers of the answer to a write: name, value, name, value …. */
export function recordedHeaders({ answer, replayed }: Recorded): string[] {
  const headers: string[] = [];
  if (answer.location !== null) headers.push('Location', answer.location);
  if (replayed) headers.push('Idempotency-Replayed', 'true');
  return headers;
}

function respond(response: Response, recorded: Recorded): AuditEventResponse {
  response.status(recorded.answer.status);
  const headers = recordedHeaders(recorded);
  for (let at = 0; at < headers.length; at += 2) {
    response.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
  }
  return new AuditEventResponse(recorded.answer.body);
}
