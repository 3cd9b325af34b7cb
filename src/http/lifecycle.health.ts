import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { Lifecycle } from '../platform/runtime/lifecycle';

/** Health of the process by its lifecycle. */
@Injectable()
export class LifecycleHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly lifecycle: Lifecycle,
  ) {}

  /** Up from the end of the boot to the begin of the shutdown. */
  isReady(): HealthIndicatorResult {
    return this.result(this.lifecycle.phase === 'ready');
  }

  /** Up after the boot. */
  isStarted(): HealthIndicatorResult {
    return this.result(this.lifecycle.phase !== 'starting');
  }

  private result(isUp: boolean): HealthIndicatorResult {
    const { phase } = this.lifecycle;
    const check = this.health.check('lifecycle');
    return isUp ? check.up({ phase }) : check.down({ phase });
  }
}
