import { Injectable } from '@nestjs/common';
import type { HealthIndicatorFunction } from '@nestjs/terminus';
import { DatabaseHealthIndicator } from '../database/database.health';
import { PartitionsHealthIndicator } from '../database/partitions.health';
import { LifecycleHealthIndicator } from '../front/lifecycle.health';
import { ProcessHealthIndicator } from '../metrics/process.health';
import { RedisHealthIndicator } from '../redis/redis.health';

/** Which indicators each probe asks. */
@Injectable()
export class ProbeIndicators {
  constructor(
    private readonly lifecycle: LifecycleHealthIndicator,
    private readonly database: DatabaseHealthIndicator,
    private readonly partitions: PartitionsHealthIndicator,
    private readonly redis: RedisHealthIndicator,
    private readonly process: ProcessHealthIndicator,
  ) {}

  all(): HealthIndicatorFunction[] {
    return [
      () => this.database.check(),
      () => this.redis.check(),
      () => this.partitions.check(),
      () => this.process.memory(),
      () => this.process.disk(),
      () => this.process.eventLoop(),
    ];
  }

  /** What requests depend on; Redis only tells that it is away, which makes nothing unready. */
  readiness(): HealthIndicatorFunction[] {
    return [() => this.lifecycle.isReady(), () => this.database.check(), () => this.redis.check()];
  }

  startup(): HealthIndicatorFunction[] {
    return [() => this.lifecycle.isStarted()];
  }
}
