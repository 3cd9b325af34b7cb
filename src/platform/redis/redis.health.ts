import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { RedisConnection } from './redis-connection';

/** Whether Redis answers; degraded when not, as the service works without it. */
@Injectable()
export class RedisHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly redis: RedisConnection,
  ) {}

  /** Takes at most a quarter of a second, as an attempt. */
  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('redis');
    if (!this.redis.isConfigured) return check.up({ configured: false });
    const reply = await this.redis.attempt((client) => client.ping());
    if (reply !== undefined) return check.up({ configured: true });
    return check.degraded({
      configured: true,
      message: 'Redis does not answer: answers come from PostgreSQL and this process alone',
    });
  }
}
