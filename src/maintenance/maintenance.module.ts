import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { MetricsModule } from '../metrics/metrics.module';
import { DatabaseModule } from '../platform/database/database.module';
import { DatabaseController } from './database.controller';
import { DatabaseReport } from './database-report';
import { Maintenance } from './maintenance';
import { MaintenanceMetrics } from './maintenance.metrics';
import { Optimizer } from './optimizer';
import { Sealing } from './sealing';
import { PartitionsHealthIndicator } from './partitions.health';

/** Partitions ahead, retention, reports, advice and optimization on demand. */
@Module({
  imports: [DatabaseModule, MetricsModule, TerminusModule],
  controllers: [DatabaseController],
  providers: [
    DatabaseReport,
    Optimizer,
    Maintenance,
    MaintenanceMetrics,
    Sealing,
    PartitionsHealthIndicator,
  ],
  exports: [PartitionsHealthIndicator],
})
export class MaintenanceModule {}
