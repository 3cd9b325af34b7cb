import { Module } from '@nestjs/common';
import { AuthModule } from '../../auth/auth.module';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { WriteModule } from '../write/write.module';
import { EventIngest } from './event-ingest';

@Module({
  imports: [AuthModule, ConcurrencyModule, WriteModule],
  providers: [EventIngest],
  exports: [EventIngest],
})
export class IngestModule {}
