import { NO_STORE, type OperationDescription } from '../http/operation.openapi';
import { ApiInstant, ApiText } from '../validation/dto-properties';

/** A ticket that was issued. */
export class TicketDto {
  @ApiText(
    'AZq2mJ9QcT4bW0n1s7yJx3m5d8Kp2Rr6uVhZg4EoLtXfQaCwSeYiBkNvMjHzDlGqPbUrTyOa',
    'For the query parameter `ticket` of a live feed, as it is.',
    { pattern: '^[A-Za-z0-9_-]{72}$' },
  )
  ticket!: string;

  @ApiInstant('From then on it opens nothing.')
  expiresAt!: string;
}

export const ISSUE_TICKET: OperationDescription = {
  id: 'createTicket',
  summary: 'Create a ticket for a browser',
  description:
    '`EventSource` of browsers sends no `Authorization`. A page asks for a ticket with its token, and opens a feed with it: ' +
    '`GET /api/v1/audit/events/tail?ticket=…`, a subscription of tRPC (`/trpc/…?ticket=…`), or a GraphQL WebSocket (`ticket` in ' +
    'the payload of `connection_init`, or `?ticket=…`). A ticket opens one connection, once, on any replica, within ' +
    '`AUTH_TICKET_TTL_SECONDS` (60) and before the token expires, with the scopes and organizations of the token; the feed ends ' +
    'with the token. Any other route refuses tickets. A principal has at most `SUBSCRIPTIONS_MAX_PER_PRINCIPAL` (100) unused ' +
    'tickets; further ones are 429. A body is not read.',
  responses: {
    201: { description: 'The ticket, shown once.', type: TicketDto, headers: NO_STORE },
  },
  errors: ['RATE_LIMITED'],
};
