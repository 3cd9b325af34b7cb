import { Controller, Header, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';
import { Authenticated } from '../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../auth/principal';
import { bearerToken } from '../auth/token-verifier';
import { LimitConcurrency } from '../concurrency/fair-scheduler';
import { Operation } from '../http/operation.openapi';
import { RequestSignal } from '../http/request-context';
import { Tickets } from './tickets';
import { ISSUE_TICKET, type TicketDto } from './tickets.openapi';

/** Tickets for pages, which present them where a browser sends no token. */
@ApiTags('authentication')
@Controller('auth/tickets')
export class TicketsController {
  constructor(private readonly tickets: Tickets) {}

  @Post()
  @Authenticated()
  @LimitConcurrency()
  @Header('Cache-Control', 'no-store')
  @Operation(ISSUE_TICKET)
  async issue(
    @CurrentPrincipal() principal: Principal,
    @Req() { headers }: Request,
    @RequestSignal() signal: AbortSignal | undefined,
  ): Promise<TicketDto> {
    const token = bearerToken(headers.authorization);
    const { ticket, expiresAtMs } = await this.tickets.issue(principal, token, signal);
    return { ticket, expiresAt: new Date(expiresAtMs).toISOString() };
  }
}
