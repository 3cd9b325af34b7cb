import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { MetricsModule } from '../metrics/metrics.module';
import { HealthController } from './health.controller';
import { ProbeIndicators } from './probe-indicators';

/** The probes. Indicators belong to the modules whose health they tell. */
@Module({
  imports: [TerminusModule.forRoot({ logger: false }), MetricsModule],
  controllers: [HealthController],
  providers: [ProbeIndicators],
})
export class HealthModule {}
