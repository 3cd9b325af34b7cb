import { Inject, Logger, Module, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AuthModule } from '../auth/auth.module';
import { CachingModule } from '../caching/caching.module';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { auditConfig } from '../config/audit.config';
import { Database } from '../database/database';
import { MaintainedTables } from '../database/maintained-tables';
import { Partitions } from '../database/partitions';
import { CursorCodec } from '../pagination/cursor.codec';
import { StreamingModule } from '../streaming/streaming.module';
import { EVENT_TABLE } from './audit-event';
import { AnswerComposition } from './answer-composition';
import { AuditExportController } from './audit-export.controller';
import { AuditEventStream } from './audit-event-stream';
import { AuditExports } from './audit-exports';
import { AuditController } from './audit.controller';
import { AuditMetrics } from './audit.metrics';
import { AuditPages } from './audit-pages';
import { AuditSearch } from './audit-search';
import { AuditQueries } from './audit.queries';
import { AuditService } from './audit.service';
import { AuditTailController } from './audit-tail.controller';
import { AuditWriter } from './audit-writer';
import { BackfillPages } from './backfill-pages';
import { BulkEvents } from './bulk-events';
import { CachedEvents, CachedPages } from './cached-reads';
import { CreateEventHotRoute } from './create-event.hot-route';
import { EventFeed } from './event-feed';
import { EventIngest } from './event-ingest';
import { EventWarmup } from './event-warmup';
import { forgetExpired, wasRecordedBetween } from './expired-events';
import { ExportRecorder } from './export-recorder';
import { GroupRecorder } from './group-recorder';
import { HeadEpochs } from './head-epochs';
import { LiveEvents } from './live-events';
import { LogTimeline } from './log-timeline';
import { ReadTurns } from './read-turns';

/** Audit events: the domain, and the one module that knows what they are. */
@Module({
  imports: [AuthModule, CachingModule, ConcurrencyModule, StreamingModule],
  controllers: [AuditExportController, AuditTailController, AuditController],
  providers: [
    AuditService,
    AuditWriter,
    AuditMetrics,
    BulkEvents,
    GroupRecorder,
    CreateEventHotRoute,
    ReadTurns,
    CachedPages,
    CachedEvents,
    EventFeed,
    LiveEvents,
    LogTimeline,
    EventIngest,
    EventWarmup,
    HeadEpochs,
    AuditExports,
    ExportRecorder,
    AuditPages,
    AnswerComposition,
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
