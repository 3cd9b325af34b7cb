import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { TokenVerifier } from './token-verifier';

/** The key set; degraded while it cannot be read, as known keys go on verifying. */
@Injectable()
export class KeySetHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly verifier: TokenVerifier,
  ) {}

  check(): HealthIndicatorResult {
    const { isConfigured, isAway, ageSeconds } = this.verifier.keySet();
    const check = this.health.check('keySet');
    if (!isAway) return check.up({ configured: isConfigured });
    return check.degraded({
      configured: true,
      secondsSinceRead: ageSeconds === undefined ? null : Math.round(ageSeconds),
      message: 'The key set cannot be read: tokens of known keys are verified, for a time',
    });
  }
}
