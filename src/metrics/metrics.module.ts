import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { ProcessHealthIndicator } from './process.health';

/** What the service knows about itself. */
@Module({
  imports: [TerminusModule],
  providers: [ProcessHealthIndicator],
  exports: [ProcessHealthIndicator],
})
export class MetricsModule {}
