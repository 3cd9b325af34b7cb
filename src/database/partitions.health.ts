import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { MaintainedTables } from './maintained-tables';
import { missingMonths, type Month, monthOf, monthsAhead, Partitions } from './partitions';
import { Upkeep } from './upkeep';

/**
 * Whether this month and the next have their partitions, and whether the last upkeep of this process did all it should;
 * degraded when not, as partitions are also made on demand and the upkeep tries again.
 */
@Injectable()
export class PartitionsHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly tables: MaintainedTables,
    private readonly partitions: Partitions,
    private readonly upkeep: Upkeep,
  ) {}

  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('partitions');
    try {
      const tables: Record<string, { total: number; newest: Month | null; missing: Month[] }> = {};
      for (const { table, ahead } of this.tables.partitioned()) {
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
    const partitions = (await this.partitions.find(table)).filter((one) => !one.isDetaching);
    const upperMs = partitions.at(-1)?.upperMs ?? undefined;
    return {
      total: partitions.length,
      newest: upperMs === undefined ? null : monthOf(new Date(upperMs - 1).toISOString()),
      missing: missingMonths(partitions, monthsAhead(Math.min(ahead, 1))),
    };
  }
}
