import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { FairScheduler } from './fair-scheduler';
import { LargeBodyLimiter } from './large-body-limiter';
import { SubscriptionLimiter } from './subscription-limiter';

/** Health of the permits for requests and subscriptions: degraded while a full queue refuses requests. */
@Injectable()
export class ConcurrencyHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly scheduler: FairScheduler,
    private readonly large: LargeBodyLimiter,
    private readonly subscriptions: SubscriptionLimiter,
  ) {}

  check(): HealthIndicatorResult {
    const { active, queued, max, utilization } = this.scheduler.statistics();
    const data = {
      active,
      queued: queued + this.large.permits.queued,
      max,
      utilization: Math.round(utilization * 10) / 10,
      subscriptions: { ...this.subscriptions.activeByKind },
    };
    const check = this.health.check('concurrency');
    return this.scheduler.permits.isFull || this.large.permits.isFull
      ? check.degraded(data)
      : check.up(data);
  }
}
