import { Inject, Logger, Module, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AuthModule } from '../auth/auth.module';
import { CachingModule } from '../caching/caching.module';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { auditConfig } from '../platform/config/audit.config';
import { Database } from '../platform/database/database';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { Partitions } from '../platform/database/partitions';
import { CursorCodec } from '../pagination/cursor.codec';
import { StreamingModule } from '../streaming/streaming.module';
import { EVENT_TABLE } from './event/audit-event';
import { ResponseComposition } from './read/response-composition';
import { AuditExportController } from './api/audit-export.controller';
import { AuditEventStream } from './feed/audit-event-stream';
import { AuditExports } from './export/audit-exports';
import { AuditController } from './api/audit.controller';
import { AuditMetrics } from './audit.metrics';
import { AuditPages } from './read/audit-pages';
import { AuditSearch } from './read/audit-search';
import { AuditQueries } from './read/audit.queries';
import { AuditService } from './api/audit.service';
import { AuditTailController } from './api/audit-tail.controller';
import { AuditWriter } from './write/audit-writer';
import { BackfillPages } from './feed/backfill-pages';
import { BulkEvents } from './api/bulk-events';
import { CachedEvents, CachedPages } from './read/cached-reads';
import { CreateEventFastRoute } from './api/create-event.fast-route';
import { EventFeed } from './feed/event-feed';
import { EventIngest } from './ingest/event-ingest';
import { EventWarmup } from './read/event-warmup';
import { forgetExpired, wasRecordedBetween } from './write/expired-events';
import { ExportRecorder } from './export/export-recorder';
import { BatchCommitter } from './write/batch-committer';
import { TenantVersions } from './read/tenant-versions';
import { EventTailer } from './feed/event-tailer';
import { LogTimeline } from './event/log-timeline';
import { ReadScheduler } from './read/read-permits';

/** Audit events: the domain, and the one module that knows what they are. */
@Module({
  imports: [AuthModule, CachingModule, ConcurrencyModule, StreamingModule],
  controllers: [AuditExportController, AuditTailController, AuditController],
  providers: [
    AuditService,
    AuditWriter,
    AuditMetrics,
    BulkEvents,
    BatchCommitter,
    CreateEventFastRoute,
    ReadScheduler,
    CachedPages,
    CachedEvents,
    EventFeed,
    EventTailer,
    LogTimeline,
    EventIngest,
    EventWarmup,
    TenantVersions,
    AuditExports,
    ExportRecorder,
    AuditPages,
    ResponseComposition,
    AuditSearch,
    AuditEventStream,
    BackfillPages,
    AuditQueries,
    { provide: CursorCodec, inject: [Database], useFactory: cursorCodec },
  ],
  exports: [AuditEventStream, AuditSearch, AuditService, EventFeed],
})
export class AuditModule implements OnModuleInit {
  constructor(
    private readonly partitions: Partitions,
    private readonly maintained: MaintainedTables,
    @Inject(auditConfig.KEY) private readonly config: ConfigType<typeof auditConfig>,
  ) {}

  async onModuleInit(): Promise<void> {
    const { partitionPrecreate: ahead, retentionDays } = this.config;
    this.maintained.addPartitioned({
      table: EVENT_TABLE,
      ahead,
      retentionDays,
      afterHidden: forgetExpired,
      wasRecordedBetween,
    });
    await this.partitions.ensureAhead(EVENT_TABLE, this.config.partitionPrecreate);
    new Logger(AuditModule.name).log(
      `Partitions exist for this month and ${this.config.partitionPrecreate} more.`,
    );
  }
}

/** Cursors are signed with a key that the first migration made: the same on every replica and after a restart. */
async function cursorCodec(database: Database): Promise<CursorCodec> {
  const key = await database.withClient(async (client) => {
    const { rows } = await client.query<{ value: Buffer }>(
      `SELECT value FROM service_secret WHERE name = 'cursor'`,
    );
    return rows[0]?.value;
  });
  if (!key) throw new Error('The table service_secret has lost the key for cursors.');
  return new CursorCodec(key);
}
