import { Controller, Get, Headers, Inject, Query, Req, Res } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { AcceptsTicket } from '../../auth/ticket-access';
import { Operation } from '../../http/operation.openapi';
import { measureToFirstByte } from '../../http/request-times';
import {
  EVENT_STREAM_HEADERS,
  type StreamMessage,
  whileConnected,
  writeEventStream,
} from '../../http/server-sent-events';
import { streamingConfig } from '../../platform/config/settings';
import { EventFeed, type FeedEvent } from '../feed/event-feed';
import { AuditTailQuery } from '../feed/feed.dto';
import { filterOf } from '../read/dto/audit-events-query.dto';
import { AUDIT_ROUTES } from './audit.controller';
import { TAIL_EVENTS } from './audit.openapi';

/** Name of messages with an event. */
const RECORDED = 'audit.event';

/** Live feeds over REST. Registered before AuditController, whose `:id` would match `tail`. */
@ApiTags('audit events')
@Controller(AUDIT_ROUTES)
export class AuditTailController {
  constructor(
    private readonly feed: EventFeed,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
  ) {}

  @Get('tail')
  @AcceptsTicket()
  @Scopes('audit:read')
  @Operation(TAIL_EVENTS)
  async tail(
    @CurrentPrincipal() principal: Principal,
    @Query() query: AuditTailQuery,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    measureToFirstByte(response); // the rest depends on its reader
    const filter = filterOf(query);
    if (request.method === 'HEAD') {
      response.writeHead(200, EVENT_STREAM_HEADERS).end();
      return;
    }
    const after =
      lastEventId === undefined || lastEventId === '' ? query.after_sequence : lastEventId;
    const events = this.feed.follow(principal, {
      filter,
      after,
      signal: whileConnected(response),
      kind: 'sse',
    });
    await events.begun;
    const { stallTimeoutMs } = this.config;
    await writeEventStream(response, messagesOf(events), { stallTimeoutMs, ended: events.ended });
  }
}

async function* messagesOf(events: AsyncIterable<FeedEvent>): AsyncGenerator<StreamMessage> {
  for await (const { text, cursor } of events) yield { id: cursor, event: RECORDED, data: text };
}
