import { Module } from '@nestjs/common';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { HttpModule } from '../../http/http.module';
import { DatabaseModule } from '../../platform/database/database.module';
import { EventModule } from '../event/event.module';
import { AuditService } from './audit.service';
import { AuditWriter } from './audit-writer';
import {
  BatchCommitter,
  TRANSACTION_PARTICIPANTS,
  type TransactionParticipant,
} from './batch-committer';
import { DuplicatesParticipant } from './duplicates.participant';
import { IdempotencyParticipant } from './idempotency.participant';

/** Recording events: commands, the queue of commits, and the transaction with its participants. */
@Module({
  imports: [ConcurrencyModule, DatabaseModule, EventModule, HttpModule],
  providers: [
    AuditService,
    AuditWriter,
    BatchCommitter,
    IdempotencyParticipant,
    DuplicatesParticipant,
    {
      // In this order: a replay ends a request before its events are compared with stored ones.
      provide: TRANSACTION_PARTICIPANTS,
      inject: [IdempotencyParticipant, DuplicatesParticipant],
      useFactory: (...participants: TransactionParticipant[]) => participants,
    },
  ],
  exports: [AuditService, AuditWriter],
})
export class WriteModule {}
