import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { CacheReport } from './cache-report';

/** Size and hit ratio; degraded while the shared tier is away. */
@Injectable()
export class CacheHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly report: CacheReport,
  ) {}

  check(): HealthIndicatorResult {
    const { entries, sizeMB, hitRatio, sharedTier } = this.report.statistics();
    const data = { entries, sizeMB, hitRatio, sharedTier };
    const check = this.health.check('cache');
    return sharedTier === 'away' ? check.degraded(data) : check.up(data);
  }
}
