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
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { Cached } from '../../caching/http-cache';
import { LimitConcurrency } from '../../concurrency/fair-scheduler';
import type { BodyRequest } from '../../http/body-reader';
import { Operation } from '../../http/operation.openapi';
import { Procedure } from '../../http/procedure.decorator';
import { RequestSignal } from '../../http/request-context';
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { CachedCounts } from '../read/cached-counts';
import { CachedEvents, CachedPages } from '../read/cached-reads';
import { AuditEventCountsQuery } from '../read/dto/audit-event-counts.dto';
import { AuditEventQuery, AuditEventsQuery } from '../read/dto/audit-events-query.dto';
import { AuditService } from '../write/audit.service';
import { COUNT_EVENTS, CREATE_BULK, CREATE_EVENT, FIND_BY_ID, FIND_PAGE } from './audit.openapi';
import { BulkBody } from './bulk-body';
import { SingleEventInterceptor } from './event-body';
import { JsonTextResponse } from './json-text-response';
import {
  bulkWriteResponse,
  eventWriteResponse,
  idempotencyClaimOf,
  type WriteResponse,
} from './write-headers';

export const AUDIT_ROUTES = ['audit/events', 'performance/audit/events'];

/**
 * The REST API of audit events. Plain requests are served before express: `create` by create-event.fast-route.ts, the
 * `@Cached` ones by caching/cached-routes.ts.
 */
@ApiTags('audit events')
@Controller(AUDIT_ROUTES)
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Post()
  @Scopes('audit:write')
  @LimitConcurrency()
  @UseInterceptors(SingleEventInterceptor)
  @Operation(CREATE_EVENT)
  async create(
    @CurrentPrincipal() principal: Principal,
    @Body() event: CreateAuditEventDto,
    @Req() request: BodyRequest,
    @RequestSignal() signal: AbortSignal | undefined,
    @Res({ passthrough: true }) response: Response,
  ): Promise<JsonTextResponse> {
    const claim = idempotencyClaimOf(request, principal, 'event');
    const recorded = await this.audit.create(principal, event, { claim, signal });
    return respond(response, eventWriteResponse(recorded), recorded);
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
  ): Promise<JsonTextResponse> {
    const claim = idempotencyClaimOf(request, principal, 'bulk');
    const recorded = await this.audit.createBulk(principal, bulk, { claim, signal });
    return respond(response, bulkWriteResponse(recorded), recorded);
  }

  @Get()
  @Scopes('audit:read')
  @Cached(CachedPages)
  @Operation(FIND_PAGE)
  findPage(@Query() _query: AuditEventsQuery): void {}

  @Get('counts')
  @Scopes('audit:read')
  @Cached(CachedCounts)
  @Operation(COUNT_EVENTS)
  countEvents(@Query() _query: AuditEventCountsQuery): void {}

  @Get(':id')
  @Scopes('audit:read')
  @Cached(CachedEvents)
  @Operation(FIND_BY_ID)
  findById(@Param('id') _id: string, @Query() _query: AuditEventQuery): void {}
}

function respond(
  response: Response,
  { status, headers }: WriteResponse,
  { text, result }: { text: string; result?: object },
): JsonTextResponse {
  response.status(status);
  for (let at = 0; at < headers.length; at += 2) {
    response.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
  }
  return new JsonTextResponse(text, result);
}
