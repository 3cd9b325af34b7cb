import { Injectable, Module } from '@nestjs/common';
import {
  type HealthIndicatorResult,
  HealthIndicatorService,
  TerminusModule,
} from '@nestjs/terminus';
import { RedisConnection } from './redis-connection';

/** Health of Redis; degraded without an answer, as the service works without it. */
@Injectable()
export class RedisHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly redis: RedisConnection,
  ) {}

  /** Takes at most 250 ms. */
  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('redis');
    if (!this.redis.isConfigured) return check.up({ configured: false });
    const reply = await this.redis.attempt((client) => client.ping());
    if (reply !== undefined) return check.up({ configured: true });
    const { refusal } = this.redis;
    const state = refusal === undefined ? 'does not answer' : `refuses writes (${refusal})`;
    return check.degraded({
      configured: true,
      message: `Redis ${state}: answers come from PostgreSQL and this process alone`,
    });
  }
}

/** Optional Redis (REDIS_URL). The service starts without its answer. */
@Module({
  imports: [TerminusModule],
  providers: [RedisConnection, RedisHealthIndicator],
  exports: [RedisConnection, RedisHealthIndicator],
})
export class RedisModule {}
