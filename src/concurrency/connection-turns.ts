import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../config/concurrency.config';
import { databaseConfig } from '../config/database.config';
import { Database } from '../database/database';
import { FairTurns } from './fair-turns';

/**
 * Turns to a connection, for those who have a turn to work: there may be fewer connections than turns, and the pool's
 * own queue is first come first served, so that a flood's turns would stand before everybody else's there. Nobody is
 * refused for want of room; who waits longer than CONCURRENCY_QUEUE_TIMEOUT_MS is. The pool's figures count them all.
 */
@Injectable()
export class ConnectionTurns extends FairTurns {
  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
    database: Database,
  ) {
    super({ ...config, maxRequests: poolMax, queueSize: Infinity, enableQueue: true });
    database.watchWaiting(() => this.queued);
  }
}
