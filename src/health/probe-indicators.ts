import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorFunction, HealthIndicatorResult } from '@nestjs/terminus';
import { DatabaseHealthIndicator } from '../platform/database/database.health';
import { LifecycleHealthIndicator } from '../http/lifecycle.health';
import { ProcessHealthIndicator } from '../metrics/process.health';
import { RedisHealthIndicator } from '../platform/redis/redis.module';

/** The indicators of `/health` alone: parts whose state makes nothing unready. */
export const OTHER_INDICATORS = Symbol('indicators of /health alone');

export interface Indicator {
  check(): HealthIndicatorResult | Promise<HealthIndicatorResult>;
}

@Injectable()
export class ProbeIndicators {
  constructor(
    private readonly lifecycle: LifecycleHealthIndicator,
    private readonly database: DatabaseHealthIndicator,
    private readonly redis: RedisHealthIndicator,
    private readonly process: ProcessHealthIndicator,
    @Inject(OTHER_INDICATORS) private readonly others: readonly Indicator[],
  ) {}

  all(): HealthIndicatorFunction[] {
    return [
      () => this.database.check(),
      () => this.redis.check(),
      () => this.process.memory(),
      () => this.process.disk(),
      () => this.process.eventLoop(),
      ...this.others.map((indicator) => () => indicator.check()),
    ];
  }

  /** Redis is `degraded` when it is away, which makes nothing unready. */
  readiness(): HealthIndicatorFunction[] {
    return [() => this.lifecycle.isReady(), () => this.database.check(), () => this.redis.check()];
  }

  startup(): HealthIndicatorFunction[] {
    return [() => this.lifecycle.isStarted()];
  }
}
