import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { RedisConnection } from './redis-connection';
import { RedisHealthIndicator } from './redis.health';

/** Redis, when REDIS_URL is set. The service boots whether it answers or not. */
@Module({
  imports: [TerminusModule],
  providers: [RedisConnection, RedisHealthIndicator],
  exports: [RedisConnection, RedisHealthIndicator],
})
export class RedisModule {}
