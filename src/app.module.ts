import { Module } from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { AuditModule } from './audit/audit.module';
import { AuthModule } from './auth/auth.module';
import { CachingModule } from './caching/caching.module';
import { ConfigModule } from './platform/config/config.module';
import { DatabaseModule } from './platform/database/database.module';
import { ProblemFilter } from './http/http-server.adapter';
import { HttpModule } from './http/http.module';
import { CompiledValidationPipe } from './validation/validation.pipe';
import { GraphqlModule } from './api/graphql/graphql.module';
import { PlatformMetrics } from './platform.metrics';
import { HealthModule } from './health/health.module';
import { MetricsModule } from './metrics/metrics.module';
import { RedisModule } from './platform/redis/redis.module';
import { TrpcModule } from './api/trpc/trpc.module';
import { ConcurrencyModule } from './concurrency/concurrency.module';
import { StreamingModule } from './streaming/streaming.module';
import { MaintenanceModule } from './maintenance/maintenance.module';
import { ProfilingModule } from './profiling/profiling.module';
import { TicketsModule } from './tickets/tickets.module';
import { DeliveryModule } from './delivery/delivery.module';

/** Wiring of platform, capabilities, domain and APIs. */
@Module({
  imports: [
    // Before the rate limit, which counts principals: global guards run in the order of their modules.
    AuthModule,
    ConcurrencyModule,
    TicketsModule,
    StreamingModule,
    MaintenanceModule,
    ProfilingModule,
    DeliveryModule,
    ConfigModule,
    DatabaseModule,
    RedisModule,
    MetricsModule,
    HttpModule,
    CachingModule,
    AuditModule,
    TrpcModule,
    GraphqlModule,
    HealthModule,
  ],
  providers: [
    PlatformMetrics,
    { provide: APP_FILTER, useClass: ProblemFilter },
    { provide: APP_PIPE, useClass: CompiledValidationPipe },
  ],
})
export class AppModule {}
