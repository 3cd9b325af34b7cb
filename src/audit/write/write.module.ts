import { Module } from '@nestjs/common';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { HttpModule } from '../../http/http.module';
import { DatabaseModule } from '../../platform/database/database.module';
import { EventModule } from '../event/event.module';
import { AuditService } from './audit.service';
import { AuditWriter } from './audit-writer';
import { BatchCommitter } from './batch-committer';
import { BulkEvents } from './bulk-events';

/** Recording events: the queue, the batch commit and its transaction. */
@Module({
  imports: [ConcurrencyModule, DatabaseModule, EventModule, HttpModule],
  providers: [AuditService, AuditWriter, BatchCommitter, BulkEvents],
  exports: [AuditService, AuditWriter, BulkEvents],
})
export class WriteModule {}
