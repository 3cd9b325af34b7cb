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
import {
  ApiBearerAuth,
  ApiExtraModels,
  ApiOperation,
  ApiParam,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { Response } from 'express';
import { CurrentPrincipal } from '../auth/current-principal.decorator';
import type { Principal } from '../auth/principal';
import { Scopes } from '../auth/scopes.decorator';
import { ProblemDto } from '../errors/problem.dto';
import { JsonBodyInterceptor, type BodyRequest } from '../front/json-body.interceptor';
import { PageLinkInterceptor } from '../pagination/page-link.interceptor';
import { AuditEventAnswer, type AuditEventPage } from './audit-event-page';
import { ApiIdempotencyKey, ApiProblems, ApiRequestId, headersWith } from './audit.openapi';
import { AuditService, type Recorded } from './audit.service';
import { AuditEventDto, AuditEventPageDto, BulkCreateResultDto } from './dto/answers.dto';
import { AuditEventQuery, AuditEventsQuery, filterOf } from './dto/audit-events-query.dto';
import { BulkCreateAuditEventsDto, CreateAuditEventDto } from './dto/create-audit-event.dto';
import { EventIdPipe } from './event-id.pipe';
import { idempotencyClaimOf } from './idempotency-claim';

/** The REST door to audit events. */
@ApiTags('audit events')
@ApiBearerAuth()
@ApiExtraModels(ProblemDto)
@Controller(['audit/events', 'performance/audit/events'])
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Post()
  @Scopes('audit:write')
  @UseInterceptors(JsonBodyInterceptor)
  @ApiOperation({
    summary: 'Record one event',
    description: 'Answered after the commit: what is acknowledged is stored.',
  })
  @ApiRequestId()
  @ApiIdempotencyKey()
  @ApiResponse({
    status: 201,
    description: 'Recorded.',
    type: AuditEventDto,
    headers: headersWith({
      Location: 'Where the event is.',
      'Idempotency-Replayed': '`true` when this answer was given before.',
    }),
  })
  @ApiResponse({
    status: 200,
    description: 'An event with this id and content exists already; this is it.',
    type: AuditEventDto,
    headers: headersWith({ Location: 'Where the event is.' }),
  })
  @ApiProblems(
    'VALIDATION_FAILED',
    'MALFORMED_JSON',
    'UNAUTHENTICATED',
    'FORBIDDEN',
    'NOT_ACCEPTABLE',
    'CONFLICT',
    'REQUEST_TOO_LARGE',
    'UNSUPPORTED_MEDIA_TYPE',
    'IDEMPOTENCY_MISMATCH',
    'TOO_MANY_REQUESTS',
    'DATABASE_UNAVAILABLE',
  )
  async create(
    @CurrentPrincipal() principal: Principal,
    @Body() event: CreateAuditEventDto,
    @Req() request: BodyRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AuditEventAnswer> {
    const claim = idempotencyClaimOf(request, principal, 'event');
    return respond(response, await this.audit.create(principal, event, claim));
  }

  @Post('bulk')
  @Scopes('audit:write')
  @UseInterceptors(JsonBodyInterceptor)
  @ApiOperation({
    summary: 'Record many events, all or none',
    description:
      'One transaction. One bad event fails the request: the answer names every bad index and path, and nothing is stored.',
  })
  @ApiRequestId()
  @ApiIdempotencyKey()
  @ApiResponse({
    status: 201,
    description: 'All are recorded.',
    type: BulkCreateResultDto,
    headers: headersWith({ 'Idempotency-Replayed': '`true` when this answer was given before.' }),
  })
  @ApiProblems(
    'VALIDATION_FAILED',
    'MALFORMED_JSON',
    'UNAUTHENTICATED',
    'FORBIDDEN',
    'NOT_ACCEPTABLE',
    'CONFLICT',
    'REQUEST_TOO_LARGE',
    'UNSUPPORTED_MEDIA_TYPE',
    'IDEMPOTENCY_MISMATCH',
    'TOO_MANY_REQUESTS',
    'DATABASE_UNAVAILABLE',
  )
  async createBulk(
    @CurrentPrincipal() principal: Principal,
    @Body() bulk: BulkCreateAuditEventsDto,
    @Req() request: BodyRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AuditEventAnswer> {
    const claim = idempotencyClaimOf(request, principal, 'bulk');
    return respond(response, await this.audit.createBulk(principal, bulk, claim));
  }

  @Get()
  @Scopes('audit:read')
  @UseInterceptors(PageLinkInterceptor)
  @ApiOperation({
    summary: 'List events',
    description: 'A page of the events of your organizations, newest first unless asked otherwise.',
  })
  @ApiRequestId()
  @ApiResponse({
    status: 200,
    description: 'The page.',
    type: AuditEventPageDto,
    headers: headersWith({ Link: 'RFC 8288 links to the first, previous and next page.' }),
  })
  @ApiProblems(
    'VALIDATION_FAILED',
    'INVALID_CURSOR',
    'UNAUTHENTICATED',
    'FORBIDDEN',
    'NOT_ACCEPTABLE',
    'DATABASE_UNAVAILABLE',
    'REQUEST_TIMEOUT',
  )
  async findPage(
    @CurrentPrincipal() principal: Principal,
    @Query() query: AuditEventsQuery,
  ): Promise<AuditEventPage> {
    return this.audit.findPage(principal, {
      filter: filterOf(query),
      sort: {
        ...(query.sort_field ? { field: query.sort_field } : {}),
        ...(query.sort_direction ? { direction: query.sort_direction } : {}),
      },
      limit: query.limit,
      offset: query.offset,
      cursor: query.cursor,
      includeTotal: query.include_total,
    });
  }

  @Get(':id')
  @Scopes('audit:read')
  @ApiOperation({ summary: 'Show one event' })
  @ApiParam({
    name: 'id',
    description: 'The id of the event.',
    schema: { type: 'string', format: 'uuid' },
  })
  @ApiRequestId()
  @ApiResponse({
    status: 200,
    description: 'The event.',
    type: AuditEventDto,
    headers: headersWith(),
  })
  @ApiProblems(
    'VALIDATION_FAILED',
    'UNAUTHENTICATED',
    'FORBIDDEN',
    'NOT_FOUND',
    'NOT_ACCEPTABLE',
    'DATABASE_UNAVAILABLE',
    'REQUEST_TIMEOUT',
  )
  async findById(
    @CurrentPrincipal() principal: Principal,
    @Param('id', EventIdPipe) id: string,
    @Query() query: AuditEventQuery,
  ): Promise<AuditEventAnswer> {
    return this.audit.findById(principal, id, query.organization_ids);
  }
}

function respond(response: Response, { answer, replayed }: Recorded): AuditEventAnswer {
  response.status(answer.status);
  if (answer.location !== null) response.setHeader('Location', answer.location);
  if (replayed) response.setHeader('Idempotency-Replayed', 'true');
  return new AuditEventAnswer(answer.body);
}
