import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { FairTurns } from './fair-turns';

/** How many turns are taken and waited for; degraded while the queue is full, so that requests are refused. */
@Injectable()
export class ConcurrencyHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly turns: FairTurns,
  ) {}

  check(): HealthIndicatorResult {
    const { active, queued, max, queueSize, utilization } = this.turns.statistics();
    const data = { active, queued, max, utilization: Math.round(utilization * 10) / 10 };
    const check = this.health.check('concurrency');
    return active >= max && queued >= queueSize ? check.degraded(data) : check.up(data);
  }
}
