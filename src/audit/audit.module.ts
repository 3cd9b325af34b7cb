import { Inject, Logger, Module, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AuthModule } from '../auth/auth.module';
import { CachingModule } from '../caching/caching.module';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { HttpModule } from '../http/http.module';
import { MetricsModule } from '../metrics/metrics.module';
import { auditConfig } from '../platform/config/settings';
import { DatabaseModule } from '../platform/database/database.module';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { monthsAhead, Partitions } from '../platform/database/partitions';
import { AuditController } from './api/audit.controller';
import { AuditExportController } from './api/audit-export.controller';
import { AuditTailController } from './api/audit-tail.controller';
import { CreateEventFastRoute } from './api/create-event.fast-route';
import { AuditMetrics } from './audit.metrics';
import { EVENT_TABLE } from './event/audit-event';
import { EventModule } from './event/event.module';
import { ExportModule } from './export/export.module';
import { FeedModule } from './feed/feed.module';
import { IngestModule } from './ingest/ingest.module';
import { ReadModule } from './read/read.module';
import { forgetExpired, wasRecordedBetween } from './write/expired-events';
import { WriteModule } from './write/write.module';

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
  ],
  controllers: [AuditExportController, AuditTailController, AuditController],
  providers: [AuditMetrics, CreateEventFastRoute],
  exports: [WriteModule, ReadModule, FeedModule],
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
    await this.partitions.ensure(EVENT_TABLE, monthsAhead(ahead));
    new Logger(AuditModule.name).log(`Partitions exist for this month and ${ahead} more.`);
  }
}
