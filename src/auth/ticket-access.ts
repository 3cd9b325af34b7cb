import { applyDecorators, Injectable, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { type AppError, internalError, validationFailed } from '../platform/errors/app-error';
import type { Principal } from './principal';
import { TokenVerifier } from './token-verifier';

/** The query parameter with a ticket. */
const PARAMETER = 'ticket';
const PREFIX = `${PARAMETER}=`;

/** Metadata key of handlers that accept tickets. */
export const TICKET_ACCESS = 'auth:ticket-access';

/**
 * Also admits a ticket in the query in place of a token: for feeds alone, which browsers open without headers of the page
 * (`EventSource`). Any other route refuses tickets.
 */
export const AcceptsTicket = (): MethodDecorator =>
  applyDecorators(SetMetadata(TICKET_ACCESS, true), ApiSecurity('ticket'));

const TICKETS = Symbol('tickets');
type Ticketed = { url?: string | undefined; [TICKETS]?: readonly string[] };

/**
 * Moves the ticket from the URL of a request to where ticketOf finds it. Called before anything else reads the URL, so
 * that neither logs nor errors can repeat the ticket, and the query is the same as with a token.
 */
export function takeTicket(request: Ticketed): void {
  const { url } = request;
  if (!url?.includes(PREFIX)) return;
  const queryAt = url.indexOf('?');
  if (queryAt === -1) return;
  const parameters = url.slice(queryAt + 1).split('&');
  const found = parameters.filter((parameter) => parameter.startsWith(PREFIX));
  if (found.length === 0) return;
  const others = parameters.filter((parameter) => !parameter.startsWith(PREFIX)).join('&');
  request.url = `${url.slice(0, queryAt)}${others === '' ? '' : `?${others}`}`;
  request[TICKETS] = found.map((parameter) => parameter.slice(PREFIX.length));
}

export function hasTicket(request: Ticketed): boolean {
  return request[TICKETS] !== undefined;
}

/** The ticket of a request. @throws AppError VALIDATION_FAILED when it has several. */
export function ticketOf(request: Ticketed): string | undefined {
  const [ticket, ...others] = request[TICKETS] ?? [];
  if (others.length === 0) return ticket;
  throw validationFailed([{ path: PARAMETER, message: 'must be given once' }]);
}

/** VALIDATION_FAILED for a ticket beside a token: they may be of different principals. */
export function ticketAndToken(): AppError {
  const message = 'must not be sent together with a token: send one of them';
  return validationFailed([{ path: PARAMETER, message }]);
}

/** VALIDATION_FAILED for a ticket where none is accepted. It has not been redeemed. */
export function ticketNotAccepted(): AppError {
  const message =
    'opens live feeds alone (server-sent events, WebSockets): send the token here, in the Authorization header';
  return validationFailed([{ path: PARAMETER, message }]);
}

/**
 * Exchanges a ticket, once, for the token that it was issued for.
 * @throws AppError UNAUTHENTICATED for a ticket that is invalid, expired or used.
 */
export type TicketRedeemer = (ticket: string) => Promise<string>;

/** Verifies tickets: what a ticket gives access to is decided by its token, as it is now. */
@Injectable()
export class TicketVerifier {
  private redeemer: TicketRedeemer | undefined;

  constructor(private readonly verifier: TokenVerifier) {}

  /** Sets the store of tickets (src/tickets). */
  redeemBy(redeemer: TicketRedeemer): void {
    this.redeemer = redeemer;
  }

  /** The principal of the token. Rejects as the redeemer and TokenVerifier.verify do. */
  async verify(ticket: string): Promise<Principal> {
    if (!this.redeemer) throw internalError(new Error('No store of tickets was registered.'));
    return this.verifier.verify(`Bearer ${await this.redeemer(ticket)}`);
  }
}
