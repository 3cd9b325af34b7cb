import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { addMonths, monthOf, type Month, Partitions } from './partitions';
import { Upkeep } from './upkeep';

/**
 * Whether this month and the next have their partitions, and whether the last upkeep of this process did all it should;
 * degraded when not, as partitions are also made on demand and the upkeep tries again.
 */
@Injectable()
export class PartitionsHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly partitions: Partitions,
    private readonly upkeep: Upkeep,
  ) {}

  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('partitions');
    try {
      const tables: Record<string, { total: number; newest: Month | null; missing: Month[] }> = {};
      for (const [table, ahead] of this.partitions.tablesMadeAhead()) {
        tables[table] = await this.stateOf(table, ahead);
      }
      const isMissing = Object.values(tables).some(({ missing }) => missing.length > 0);
      const round = this.upkeep.lastRound();
      const { startedAt = null, failures = [] } = round ?? {};
      const data = { tables, lastUpkeep: startedAt, failedUpkeep: failures };
      return isMissing || failures.length > 0 ? check.degraded(data) : check.up(data);
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
