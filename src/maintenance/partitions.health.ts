import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { MaintainedTables } from '../platform/database/maintained-tables';
import {
  missingMonths,
  type Month,
  monthOf,
  monthsAhead,
  Partitions,
} from '../platform/database/partitions';
import { abortable } from '../platform/runtime/abort';
import { Maintenance } from './maintenance';

/** Limit of the check, which a locked table must not delay. */
const TIMEOUT_MS = 5000;

interface PartitionsState {
  total: number;
  newest: Month | null;
  missing: Month[];
  /** Advice for PostgreSQL's settings, when it has too few locks for the partitions. */
  advice?: string | undefined;
}

/**
 * Health of the partitions of this month and the next, and of maintenance in this process. It is never down, only
 * degraded: partitions are also created on demand, and maintenance retries.
 */
@Injectable()
export class PartitionsHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly tables: MaintainedTables,
    private readonly partitions: Partitions,
    private readonly maintenance: Maintenance,
  ) {}

  /** Checks the partitions; degraded as well when PostgreSQL does not reply within five seconds. */
  async check(): Promise<HealthIndicatorResult> {
    const check = this.health.check('partitions');
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const tables = await abortable(this.states(deadline), deadline);
      const isMissing = Object.values(tables).some(({ missing }) => missing.length > 0);
      const { startedAt = null, failures = [] } = this.maintenance.lastRun() ?? {};
      const data = { tables, lastUpkeep: startedAt, failedUpkeep: failures };
      return isMissing || failures.length > 0 ? check.degraded(data) : check.up(data);
    } catch {
      return check.degraded({ message: 'The database does not answer' });
    }
  }

  private async states(deadline: AbortSignal): Promise<Record<string, PartitionsState>> {
    const tables: Record<string, PartitionsState> = {};
    for (const { table, ahead } of this.tables.partitioned()) {
      const found = await this.partitions.find(table, deadline);
      const partitions = found.filter(({ isDetaching }) => !isDetaching);
      const upperMs = partitions.at(-1)?.upperMs ?? undefined;
      tables[table] = {
        total: partitions.length,
        advice: this.partitions.lockAdvice(found.length),
        newest: upperMs === undefined ? null : monthOf(new Date(upperMs - 1).toISOString()),
        missing: missingMonths(partitions, monthsAhead(Math.min(ahead, 1))),
      };
    }
    return tables;
  }
}
