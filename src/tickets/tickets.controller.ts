import { Controller, Header, Inject, Post, Req } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';
import type { ServerResponse } from 'node:http';
import { Authenticated } from '../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../auth/principal';
import { bearerToken } from '../auth/token-verifier';
import { Operation } from '../http/operation.openapi';
import { requestSignal } from '../http/request-context';
import { serverConfig } from '../platform/config/settings';
import { Tickets } from './tickets';
import { ISSUE_TICKET, type TicketDto } from './tickets.openapi';

/**
 * Tickets for pages, which present them where a browser sends no token. They have permits of their own: requests that
 * wait for a ticket hold none that reads and writes need.
 */
@ApiTags('authentication')
@Controller('auth/tickets')
export class TicketsController {
  constructor(
    private readonly tickets: Tickets,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  @Post()
  @Authenticated()
  @Header('Cache-Control', 'no-store')
  @Operation(ISSUE_TICKET)
  async issue(
    @CurrentPrincipal() principal: Principal,
    @Req() request: Request,
  ): Promise<TicketDto> {
    const token = bearerToken(request.headers.authorization);
    const signal = requestSignal(request.res as ServerResponse, this.config.requestTimeoutMs);
    const { ticket, expiresAtMs } = await this.tickets.issue(principal, token, signal);
    return { ticket, expiresAt: new Date(expiresAtMs).toISOString() };
  }
}
