import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { FairTurns } from './fair-scheduler';
import { LargeTurns } from './large-body-limiter';
import { SubscriptionLimiter } from './subscription-limiter';

/** How many turns are taken and waited for, and what is subscribed to; degraded while a queue is full, so that requests are refused. */
@Injectable()
export class ConcurrencyHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly turns: FairTurns,
    private readonly large: LargeTurns,
    private readonly subscriptions: SubscriptionLimiter,
  ) {}

  check(): HealthIndicatorResult {
    const { active, queued, max, utilization } = this.turns.statistics();
    const data = {
      ...{
        active,
        queued: queued + this.large.queued,
        max,
        utilization: Math.round(utilization * 10) / 10,
      },
      subscriptions: { ...this.subscriptions.activeByKind },
    };
    const check = this.health.check('concurrency');
    return this.turns.isFull || this.large.isFull ? check.degraded(data) : check.up(data);
  }
}
