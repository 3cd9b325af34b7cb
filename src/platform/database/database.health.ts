import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { Database } from './database';
import type { DedicatedPool } from './dedicated-pool';

const TIMEOUT_MS = 2000;

/**
 * Health of PostgreSQL, checked on a separate connection: slow statements that exhaust the pool would make every replica
 * unready at once. Stalled commits are healthy, as reads work. The public result has no reasons of failures.
 */
@Injectable()
export class DatabaseHealthIndicator {
  private readonly probe: DedicatedPool;

  constructor(
    private readonly health: HealthIndicatorService,
    private readonly database: Database,
  ) {
    this.probe = database.dedicatedPool('health', { max: 1, timeoutMs: TIMEOUT_MS });
  }

  async check(): Promise<HealthIndicatorResult> {
    return this.health
      .check('database')
      .attempt(async () => {
        await this.probe.withClient((client) => client.query('SELECT 1'));
        const commits = this.database.unconfirmedCommits.isStalled ? 'stalled' : 'confirmed';
        return { commits, pool: this.database.poolStatistics() };
      })
      .withTimeout(TIMEOUT_MS);
  }
}
