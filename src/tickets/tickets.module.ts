import { Module, type OnModuleInit } from '@nestjs/common';
import { AuthModule } from '../auth/auth.module';
import { TicketVerifier } from '../auth/ticket-access';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { Database } from '../platform/database/database';
import { DatabaseModule } from '../platform/database/database.module';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { TicketCodec } from './ticket-codec';
import { TICKET_TABLE, Tickets } from './tickets';
import { TicketsController } from './tickets.controller';

/** Single-use tickets, with which browsers open live feeds (docs/adr/0047-tickets-for-browsers.md). */
@Module({
  imports: [AuthModule, ConcurrencyModule, DatabaseModule],
  controllers: [TicketsController],
  providers: [Tickets, { provide: TicketCodec, inject: [Database], useFactory: ticketCodec }],
})
export class TicketsModule implements OnModuleInit {
  constructor(
    private readonly tickets: Tickets,
    private readonly verifier: TicketVerifier,
    private readonly maintained: MaintainedTables,
  ) {}

  onModuleInit(): void {
    this.verifier.redeemBy((ticket) => this.tickets.redeem(ticket));
    this.maintained.addExpiring({
      table: TICKET_TABLE,
      timeColumn: 'expires_at',
      keepHours: 0,
    });
  }
}

/** Authenticates tickets with a key of the migrations: the same on every replica and after a restart. */
async function ticketCodec(database: Database): Promise<TicketCodec> {
  const key = await database.withClient(async (client) => {
    const { rows } = await client.query<{ value: Buffer }>(
      `SELECT value FROM service_secret WHERE name = 'ticket'`,
    );
    return rows[0]?.value;
  });
  if (!key) throw new Error('The table service_secret has lost the key for tickets.');
  return new TicketCodec(key);
}
