import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { auditConfig } from '../config/audit.config';
import { addMonths, monthOf, Partitions } from './partitions';

const TABLE = 'audit_event';

/** Whether this month and the next have their partition; degraded when not, as they are also made on demand. */
@Injectable()
export class PartitionsHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly partitions: Partitions,
    @Inject(auditConfig.KEY) private readonly config: ConfigType<typeof auditConfig>,
  ) {}

  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('partitions');
    try {
      const months = await this.partitions.list(TABLE);
      const current = monthOf(new Date().toISOString());
      const wanted =
        this.config.partitionPrecreate > 0 ? [current, addMonths(current, 1)] : [current];
      const missing = wanted.filter((month) => !months.includes(month));
      const data = { total: months.length, newest: months.at(-1) ?? null, missing };
      return missing.length > 0 ? check.degraded(data) : check.up(data);
    } catch {
      return check.degraded({ message: 'The database does not answer' });
    }
  }
}
