import { Module, type OnModuleInit } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { ResponsePermits } from './response-permits';
import { ConcurrencyGuard, ConcurrencyInterceptor, FairScheduler } from './fair-scheduler';
import { ConcurrencyHealthIndicator } from './concurrency.health';
import { ConcurrencyMetrics } from './concurrency.metrics';
import { ConnectionLimiter } from './connection-limiter';
import { IDEMPOTENCY_TABLE, IdempotencyKeys } from './idempotency-keys';
import { LargeBodyLimiter } from './large-body-limiter';
import { EventLoopPressure } from './event-loop-pressure';
import { RateLimit, RateLimitGuard, RateLimitStorage } from './rate-limit';
import { SubscriptionLimiter } from './subscription-limiter';
import { DatabaseModule } from '../platform/database/database.module';
import { RedisModule } from '../platform/redis/redis.module';
import { MetricsModule } from '../metrics/metrics.module';
import { HttpModule } from '../http/http.module';

/** Hours that idempotency keys are kept: 24 are promised, counted from the response, which is later than the key. */
const KEEP_KEYS_HOURS = 25;

/** Fair permits, deadlines, rate limit and idempotency keys. */
@Module({
  imports: [DatabaseModule, RedisModule, MetricsModule, HttpModule, TerminusModule],
  providers: [
    EventLoopPressure,
    FairScheduler,
    ConnectionLimiter,
    LargeBodyLimiter,
    ResponsePermits,
    ConcurrencyGuard,
    ConcurrencyInterceptor,
    ConcurrencyHealthIndicator,
    ConcurrencyMetrics,
    IdempotencyKeys,
    RateLimitStorage,
    RateLimit,
    SubscriptionLimiter,
    { provide: APP_GUARD, useClass: RateLimitGuard },
  ],
  exports: [
    RateLimit,
    EventLoopPressure,
    FairScheduler,
    ConnectionLimiter,
    LargeBodyLimiter,
    ResponsePermits,
    ConcurrencyGuard,
    ConcurrencyInterceptor,
    ConcurrencyHealthIndicator,
    IdempotencyKeys,
    SubscriptionLimiter,
  ],
})
export class ConcurrencyModule implements OnModuleInit {
  constructor(private readonly maintained: MaintainedTables) {}

  onModuleInit(): void {
    this.maintained.addExpiring({
      table: IDEMPOTENCY_TABLE,
      timeColumn: 'created_at',
      keepHours: KEEP_KEYS_HOURS,
    });
  }
}
