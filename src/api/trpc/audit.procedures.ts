import { Body, Inject, Injectable, Req, Res } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import { AuditEventStream, type StreamedEvent } from '../../audit/feed/audit-event-stream';
import { EventFeed, type FeedEvent } from '../../audit/feed/event-feed';
import { AuditSearch, type FoundText } from '../../audit/read/audit-search';
import {
  type AuditEventCountsDto,
  AuditEventCountsSearchDto,
} from '../../audit/read/dto/audit-event-counts.dto';
import { AuditEventSearchDto, filterIn } from '../../audit/read/dto/audit-event-search.dto';
import { AuditEventFeedDto, AuditEventStreamDto } from '../../audit/feed/feed.dto';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { Scopes } from '../../auth/auth.guard';
import { AcceptsTicket } from '../../auth/ticket-access';
import { serverConfig } from '../../platform/config/settings';
import { AppError } from '../../platform/errors/app-error';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import { requestSignal } from '../../http/request-context';
import { Procedure } from '../../http/procedure.decorator';
import type { CallRequest } from './batch-inputs';
import { composedResponseOf } from './trpc.adapter';

/** The paths of cached reads in the settings of the cache. */
const LIST_PATH = '/trpc/performance.getOptimizedAuditEvents';
const COUNTS_PATH = '/trpc/performance.getAuditEventCounts';

/** The procedures that are not routes. */
@Injectable()
export class AuditProcedures {
  constructor(
    private readonly search: AuditSearch,
    private readonly streams: AuditEventStream,
    private readonly feed: EventFeed,
    private readonly lifecycle: Lifecycle,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Counts unless the input says otherwise: tRPC has no selection that would ask for the total. */
  @Procedure('performance.getOptimizedAuditEvents')
  @Scopes('audit:read')
  async getOptimizedAuditEvents(
    @CurrentPrincipal() principal: Principal,
    @Body() search: AuditEventSearchDto,
    @Res() response: ServerResponse,
  ): Promise<FoundText> {
    const { pagination } = search;
    const includeTotal = pagination?.includeTotal ?? true;
    return this.search.findPageText(
      principal,
      { ...search, pagination: { ...pagination, includeTotal } },
      {
        path: LIST_PATH,
        signal: () => requestSignal(response, this.config.requestTimeoutMs),
        response: composedResponseOf(response),
      },
    );
  }

  @Procedure('performance.getAuditEventCounts')
  @Scopes('audit:read')
  getAuditEventCounts(
    @CurrentPrincipal() principal: Principal,
    @Body() search: AuditEventCountsSearchDto,
    @Res() response: ServerResponse,
  ): Promise<AuditEventCountsDto> {
    return this.search.findCounts(principal, search, {
      path: COUNTS_PATH,
      signal: () => requestSignal(response, this.config.requestTimeoutMs),
      response: composedResponseOf(response),
    });
  }

  @Procedure('performance.streamAuditEvents')
  @AcceptsTicket()
  @Scopes('audit:export')
  streamAuditEvents(
    @CurrentPrincipal() principal: Principal,
    @Body() search: AuditEventStreamDto,
    @Req() { callSignal }: CallRequest,
  ): AsyncIterable<StreamedEvent> {
    return this.streams.open(principal, search, callSignal);
  }

  @Procedure('performance.auditEventRecorded')
  @AcceptsTicket()
  @Scopes('audit:read')
  async auditEventRecorded(
    @CurrentPrincipal() principal: Principal,
    @Body() { filter, lastEventId }: AuditEventFeedDto,
    @Req() { callSignal }: CallRequest,
  ): Promise<AsyncIterable<FeedEvent>> {
    const feed = this.feed.follow(principal, {
      filter: filterIn(filter),
      after: lastEventId ?? undefined,
      signal: callSignal,
      kind: 'trpc',
    });
    await feed.begun; // before the response begins
    return untilStopped(feed, this.lifecycle);
  }
}

/** Fails where the feed ends because the process stops: after an end the stock client would not go on at another replica. */
async function* untilStopped(
  feed: AsyncIterable<FeedEvent>,
  lifecycle: Lifecycle,
): AsyncGenerator<FeedEvent> {
  yield* feed;
  if (lifecycle.phase !== 'draining') return;
  throw new AppError('NOT_READY', 'The service is stopping: go on at another replica.', {
    retryAfterSeconds: 1,
  });
}
