import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { addMonths, monthOf, type Month, Partitions } from './partitions';

/** Whether this month and the next have their partitions; degraded when not, as they are also made on demand. */
@Injectable()
export class PartitionsHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly partitions: Partitions,
  ) {}

  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('partitions');
    try {
      const tables: Record<string, { total: number; newest: Month | null; missing: Month[] }> = {};
      for (const [table, ahead] of this.partitions.tablesMadeAhead()) {
        tables[table] = await this.stateOf(table, ahead);
      }
      const isMissing = Object.values(tables).some(({ missing }) => missing.length > 0);
      return isMissing ? check.degraded({ tables }) : check.up({ tables });
    } catch {
      return check.degraded({ message: 'The database does not answer' });
    }
  }

  private async stateOf(table: string, ahead: number) {
    const months = await this.partitions.list(table);
    const current = monthOf(new Date().toISOString());
    const wanted = ahead > 0 ? [current, addMonths(current, 1)] : [current];
    return {
      total: months.length,
      newest: months.at(-1) ?? null,
      missing: wanted.filter((month) => !months.includes(month)),
    };
  }
}
