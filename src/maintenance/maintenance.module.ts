import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { MetricsModule } from '../metrics/metrics.module';
import { DatabaseModule } from '../platform/database/database.module';
import { DatabaseController } from './database.controller';
import { DatabaseReport } from './database-report';
import { DatabaseStatus } from './database-status';
import { Maintenance } from './maintenance';
import { MaintenanceSchedule } from './maintenance.schedule';
import { Optimizer } from './optimizer';
import { PartitionsHealthIndicator } from './partitions.health';

/** Partitions ahead, retention, reports, advice and optimization on demand. */
@Module({
  imports: [DatabaseModule, MetricsModule, TerminusModule],
  controllers: [DatabaseController],
  providers: [
    DatabaseReport,
    DatabaseStatus,
    Optimizer,
    Maintenance,
    MaintenanceSchedule,
    PartitionsHealthIndicator,
  ],
  exports: [DatabaseReport, DatabaseStatus, Optimizer, Maintenance, PartitionsHealthIndicator],
})
export class MaintenanceModule {}
