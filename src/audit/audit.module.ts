import { Inject, Logger, Module, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AuthModule } from '../auth/auth.module';
import { CachingModule } from '../caching/caching.module';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { HttpModule } from '../http/http.module';
import { MetricsModule } from '../metrics/metrics.module';
import { CursorCodec } from '../pagination/cursor.codec';
import { auditConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { DatabaseModule } from '../platform/database/database.module';
import { assertOneServer } from '../platform/database/distributed-tables';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { monthsAhead, Partitions } from '../platform/database/partitions';
import { RedisModule } from '../platform/redis/redis.module';
import { StreamingModule } from '../streaming/streaming.module';
import { AuditExportController } from './api/audit-export.controller';
import { AuditIngestController } from './api/audit-ingest.controller';
import { AuditTailController } from './api/audit-tail.controller';
import { AuditController } from './api/audit.controller';
import { AuditSchemasController } from './api/audit-schemas.controller';
import { CreateEventFastRoute } from './api/create-event.fast-route';
import { OtlpLogsController } from './api/otlp-logs.controller';
import { AuditMetrics } from './audit.metrics';
import { EVENT_TABLE } from './event/audit-event';
import { LogTimeline } from './event/log-timeline';
import { AuditExports } from './export/audit-exports';
import { AuditEventStream } from './feed/audit-event-stream';
import { EventFeed } from './feed/event-feed';
import { EventTailer } from './feed/event-tailer';
import { CloudEventsReader } from './ingest/cloudevents-reader';
import { EventIngest } from './ingest/event-ingest';
import { OtlpIngest } from './ingest/otlp-ingest';
import { AuditPages } from './read/audit-pages';
import { AuditSearch } from './read/audit-search';
import { AuditQueries } from './read/audit.queries';
import { CachedCounts } from './read/cached-counts';
import { CachedEvents, CachedPages } from './read/cached-reads';
import { EventCounts } from './read/event-counts';
import { EventWarmup } from './read/event-warmup';
import { ReadScheduler } from './read/read-scheduler';
import { ResponseComposition } from './read/response-composition';
import { TenantVersions } from './read/tenant-versions';
import { SEARCH_INDEXES } from './search/search-indexes';
import { SealedRanges } from './search/sealed-ranges';
import { SealedReads } from './search/sealed-reads';
import { EventSchemas } from './schemas/event-schemas';
import { SchemaRegistry } from './schemas/schema-registry';
import { SchemaStore } from './schemas/schema-store';
import { AuditWriter } from './write/audit-writer';
import { AuditService } from './write/audit.service';
import {
  BatchCommitter,
  TRANSACTION_PARTICIPANTS,
  type TransactionParticipant,
} from './write/batch-committer';
import { DuplicatesParticipant } from './write/duplicates.participant';
import { forgetExpired, wasRecordedBetween } from './write/expired-events';
import { IdempotencyParticipant } from './write/idempotency.participant';
import { SchemaParticipant } from './write/schema.participant';

/** The event, and the history of each organization's log. */
@Module({ providers: [LogTimeline], exports: [LogTimeline] })
class EventModule {}

/** Schemas of actions, and the checks of events against them. */
@Module({
  imports: [DatabaseModule],
  providers: [EventSchemas, SchemaRegistry, SchemaStore],
  exports: [EventSchemas, SchemaRegistry],
})
class SchemasModule {}

/** Recording events: commands, the queue of commits, and the transaction with its participants. */
@Module({
  imports: [ConcurrencyModule, DatabaseModule, EventModule, HttpModule, SchemasModule],
  providers: [
    AuditService,
    AuditWriter,
    BatchCommitter,
    IdempotencyParticipant,
    DuplicatesParticipant,
    SchemaParticipant,
    {
      // In this order: a replay ends a request before its events are compared with stored ones, and repetitions are known
      // before faults of others refuse it.
      provide: TRANSACTION_PARTICIPANTS,
      inject: [IdempotencyParticipant, DuplicatesParticipant, SchemaParticipant],
      useFactory: (...participants: TransactionParticipant[]) => participants,
    },
  ],
  exports: [AuditService, AuditWriter],
})
class WriteModule {}

/** Finding events through the indexes that maintenance builds. */
@Module({
  imports: [DatabaseModule],
  providers: [SealedRanges, SealedReads],
  exports: [SealedReads],
})
class SearchModule {}

/** Pages and single events, cached or composed into one response. */
@Module({
  imports: [
    CachingModule,
    ConcurrencyModule,
    DatabaseModule,
    EventModule,
    HttpModule,
    SearchModule,
  ],
  providers: [
    AuditPages,
    AuditQueries,
    AuditSearch,
    CachedCounts,
    CachedEvents,
    CachedPages,
    EventCounts,
    EventWarmup,
    ReadScheduler,
    ResponseComposition,
    TenantVersions,
    { provide: CursorCodec, inject: [Database], useFactory: cursorCodec },
  ],
  exports: [
    AuditPages,
    AuditQueries,
    AuditSearch,
    CachedCounts,
    CachedEvents,
    CachedPages,
    ReadScheduler,
  ],
})
class ReadModule {}

/** Live feeds, and streams of a whole list. */
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
  providers: [AuditEventStream, EventFeed, EventTailer],
  exports: [AuditEventStream, EventFeed],
})
class FeedModule {}

@Module({
  imports: [AuthModule, ReadModule, StreamingModule, WriteModule],
  providers: [AuditExports],
  exports: [AuditExports],
})
class ExportModule {}

/** Events in other forms than one JSON document of the API: NDJSON, CloudEvents, OTLP. */
@Module({
  imports: [AuthModule, ConcurrencyModule, HttpModule, WriteModule],
  providers: [CloudEventsReader, EventIngest, OtlpIngest],
  exports: [CloudEventsReader, EventIngest, OtlpIngest],
})
class IngestModule {}

/** Audit events: the domain, in parts, and its REST API. */
@Module({
  imports: [
    AuthModule,
    CachingModule,
    ConcurrencyModule,
    DatabaseModule,
    HttpModule,
    MetricsModule,
    EventModule,
    WriteModule,
    ReadModule,
    FeedModule,
    ExportModule,
    IngestModule,
    SchemasModule,
  ],
  controllers: [
    AuditExportController,
    AuditTailController,
    AuditIngestController,
    AuditController,
    AuditSchemasController,
    OtlpLogsController,
  ],
  providers: [AuditMetrics, CreateEventFastRoute],
  exports: [WriteModule, ReadModule, FeedModule],
})
export class AuditModule implements OnModuleInit {
  constructor(
    private readonly database: Database,
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
      sealedIndexes: SEARCH_INDEXES,
    });
    await assertOneServer(this.database, EVENT_TABLE);
    await this.partitions.ensure(EVENT_TABLE, monthsAhead(ahead));
    new Logger(AuditModule.name).log(`Partitions exist for this month and ${ahead} more.`);
  }
}

/** Signs cursors with the first migration's key: the same on every replica and after a restart. */
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
