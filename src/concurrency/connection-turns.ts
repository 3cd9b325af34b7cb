import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../config/concurrency.config';
import { databaseConfig } from '../config/database.config';
import { Database } from '../database/database';
import { AppError } from '../errors/app-error';
import { FairTurns, type TurnRequest } from './fair-turns';

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
    private readonly database: Database,
  ) {
    super({ ...config, maxRequests: poolMax, queueSize: Infinity, enableQueue: true });
    database.watchWaiting(() => this.queued);
  }
  override async run<T>(request: TurnRequest, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    let isGranted = false;
    const granted = (): Promise<T> => {
      isGranted = true;
      this.database.noteWait(performance.now() - startedMs, false);
      return work();
    };
    try {
      return await super.run(request, granted);
    } catch (error) {
      // Whoever left by himself says nothing of the pool.
      if (!isGranted && isTooLate(error))
        this.database.noteWait(performance.now() - startedMs, true);
      throw error;
    }
  }
}

function isTooLate(error: unknown): boolean {
  return error instanceof AppError && ['QUEUE_TIMEOUT', 'REQUEST_TIMEOUT'].includes(error.code);
}
