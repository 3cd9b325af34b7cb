import { Global, Module, type OnModuleInit } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { MaintainedTables } from '../database/maintained-tables';
import { ConcurrencyGuard } from './concurrency.guard';
import { ConcurrencyHealthIndicator } from './concurrency.health';
import { ConcurrencyInterceptor } from './concurrency.interceptor';
import { FairTurns } from './fair-turns';
import { IDEMPOTENCY_TABLE, IdempotencyKeys } from './idempotency-keys';

/** 24 are promised. One more, as they are counted from the transaction and not from the answer's arrival. */
const KEEP_KEYS_HOURS = 25;

/** What keeps concurrent and repeated requests from harming each other: fair turns, deadlines, idempotency. */
@Global()
@Module({
  imports: [TerminusModule],
  providers: [
    FairTurns,
    ConcurrencyGuard,
    ConcurrencyInterceptor,
    ConcurrencyHealthIndicator,
    IdempotencyKeys,
  ],
  exports: [
    FairTurns,
    ConcurrencyGuard,
    ConcurrencyInterceptor,
    ConcurrencyHealthIndicator,
    IdempotencyKeys,
  ],
})
export class ConcurrencyModule implements OnModuleInit {
  constructor(private readonly maintained: MaintainedTables) {}

  onModuleInit(): void {
    this.maintained.addExpiring({
      table: IDEMPOTENCY_TABLE,
      timeColumn: 'created_at',
      keepHours: KEEP_KEYS_HOURS,
    });
  }
}
