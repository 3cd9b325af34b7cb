import { Module } from '@nestjs/common';
import { Exporter } from './exporter';
import { StreamingMetrics } from './streaming.metrics';
import { DatabaseModule } from '../platform/database/database.module';
import { MetricsModule } from '../metrics/metrics.module';

/** Streams exports in constant memory, whatever their size. */
@Module({
  imports: [DatabaseModule, MetricsModule],
  providers: [Exporter, StreamingMetrics],
  exports: [Exporter],
})
export class StreamingModule {}
