import { Module } from '@nestjs/common';
import { AuthModule } from '../../auth/auth.module';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { HttpModule } from '../../http/http.module';
import { DatabaseModule } from '../../platform/database/database.module';
import { RedisModule } from '../../platform/redis/redis.module';
import { EventModule } from '../event/event.module';
import { ReadModule } from '../read/read.module';
import { WriteModule } from '../write/write.module';
import { AuditEventStream } from './audit-event-stream';
import { BackfillPages } from './backfill-pages';
import { EventFeed } from './event-feed';
import { EventTailer } from './event-tailer';

@Module({
  imports: [
    AuthModule,
    ConcurrencyModule,
    DatabaseModule,
    HttpModule,
    EventModule,
    ReadModule,
    RedisModule,
    WriteModule,
  ],
  providers: [AuditEventStream, BackfillPages, EventFeed, EventTailer],
  exports: [AuditEventStream, EventFeed],
})
export class FeedModule {}
