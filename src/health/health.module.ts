import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AuthModule } from '../auth/auth.module';
import { KeySetHealthIndicator } from '../auth/key-set.health';
import { CacheHealthIndicator } from '../caching/cache-statistics';
import { CachingModule } from '../caching/caching.module';
import { ConcurrencyHealthIndicator } from '../concurrency/concurrency.health';
import { ConcurrencyModule } from '../concurrency/concurrency.module';
import { PartitionsHealthIndicator } from '../maintenance/partitions.health';
import { MetricsModule } from '../metrics/metrics.module';
import { HealthController, type Indicator, OTHER_INDICATORS } from './health.controller';
import { DatabaseModule } from '../platform/database/database.module';
import { RedisModule } from '../platform/redis/redis.module';
import { HttpModule } from '../http/http.module';
import { MaintenanceModule } from '../maintenance/maintenance.module';

/** Probes. Indicators belong to the modules whose health they report. */
@Module({
  imports: [
    DatabaseModule,
    RedisModule,
    HttpModule,
    MaintenanceModule,
    TerminusModule.forRoot({ logger: false }),
    MetricsModule,
    CachingModule,
    ConcurrencyModule,
    AuthModule,
  ],
  controllers: [HealthController],
  providers: [
    {
      provide: OTHER_INDICATORS,
      inject: [
        PartitionsHealthIndicator,
        CacheHealthIndicator,
        ConcurrencyHealthIndicator,
        KeySetHealthIndicator,
      ],
      useFactory: (...indicators: Indicator[]) => indicators,
    },
  ],
})
export class HealthModule {}
