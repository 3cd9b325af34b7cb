import { Inject, Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { performance } from 'node:perf_hooks';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { databaseConfig } from '../platform/config/database.config';
import { Database } from '../platform/database/database';
import { AppError } from '../platform/errors/app-error';
import { FairScheduler, type PermitRequest } from './fair-scheduler';
import { AimdLimit } from './aimd-limit';
import { InFlight } from './in-flight';
import { EventLoopPressure } from './event-loop-pressure';

/** How often the limit is looked at. */
const SAMPLE_INTERVAL_MS = 100;

/**
 * Turns to a connection, for those who have a turn to work: there may be fewer connections than turns, and the pool's
 * own queue is first come first served, so that a flood's turns would stand before everybody else's there. While the
 * event loop has no time left and several flows want it, there are fewer turns than connections, for what is short: what
 * waits here is served in rotation, what waits in the loop and in the cores is not (docs/adr/0026-connection-permits-by-event-loop-pressure.md). Nobody is
 * refused for want of room; who waits longer than CONCURRENCY_QUEUE_TIMEOUT_MS is.
 */
@Injectable()
export class ConnectionLimiter extends FairScheduler implements BeforeApplicationShutdown {
  private readonly short: AimdLimit;
  private readonly running = new InFlight();
  private seen = performance.eventLoopUtilization();
  private readonly sampling = setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
  private readonly poolMax: number;

  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
    private readonly database: Database,
    private readonly contention: EventLoopPressure,
  ) {
    super({ ...config, maxRequests: poolMax, queueSize: Infinity, enableQueue: true });
    this.poolMax = poolMax;
    this.short = new AimdLimit(poolMax);
    database.watchWaiting(() => this.queued);
  }

  override async run<T>(request: PermitRequest, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.contention.noteFlow(request.flow);
    let isGranted = false;
    const granted = (): Promise<T> => {
      isGranted = true;
      if (this.areConnectionsShort) this.database.noteWaitBefore(performance.now() - startedMs);
      return this.running.during(work);
    };
    try {
      return await super.run(request, granted);
    } catch (error) {
      // Whoever left by himself says nothing of the pool.
      if (!isGranted && isTooLate(error) && this.areConnectionsShort) {
        this.database.noteWaitInVain(performance.now() - startedMs);
      }
      throw error;
    }
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.sampling);
  }

  /** Whether it is connections that are waited for here: not while there are fewer turns than those. */
  private get areConnectionsShort(): boolean {
    return this.max === this.poolMax;
  }

  private sample(): void {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.seen);
    this.seen = now;
    this.contention.noteLoop(utilization);
    // Few at once are a tenth slower, which serves nobody where all are of one flow.
    const limit = this.short.next(this.contention.hasSeveralFlows() ? utilization : 0);
    this.resize(Math.min(this.poolMax, limit + this.running.countLong()));
  }
}

function isTooLate(error: unknown): boolean {
  return error instanceof AppError && ['QUEUE_TIMEOUT', 'REQUEST_TIMEOUT'].includes(error.code);
}
