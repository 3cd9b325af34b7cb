import { Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { Database } from './database';

const TIMEOUT_MS = 2000;

/** Whether PostgreSQL answers, with the state of the pool. The reason of a failure is not for the probe. */
@Injectable()
export class DatabaseHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    private readonly database: Database,
  ) {}

  /** Down when a trivial statement is not answered within two seconds. */
  async check(): Promise<HealthIndicatorResult> {
    return this.health
      .check('database')
      .attempt(async () => {
        await this.database.withClient((client) => client.query('SELECT 1'));
        return { pool: this.database.poolStatistics() };
      })
      .withTimeout(TIMEOUT_MS);
  }
}
