import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig, databaseConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { AppError } from '../platform/errors/app-error';
import { BUSY, EventLoopPressure } from './event-loop-pressure';
import { InFlight } from './in-flight';
import { PermitPool, type PermitRequest } from './permit-pool';

/** Utilization of the event loop below which the limit rises. Between this and BUSY it stays. */
const FREE = 0.7;
/** Two: one request waits for PostgreSQL while the other uses the event loop. */
const MIN_LIMIT = 2;

/**
 * Permits to use a connection. The queue of the pool is first come, first served: a flood would wait there before all
 * other requests. While the event loop is busy and several flows use it, there are fewer permits than connections, so
 * that requests wait in this queue, which is round robin, and not in those of event loop and PostgreSQL
 * (docs/adr/0026-connection-permits-by-event-loop-pressure.md). Its length has no limit, and
 * CONCURRENCY_QUEUE_TIMEOUT_MS ends a wait.
 */
@Injectable()
export class ConnectionLimiter {
  readonly permits: PermitPool;
  private readonly running = new InFlight();

  constructor(
    @Inject(concurrencyConfig.KEY) { queueTimeoutMs }: ConfigType<typeof concurrencyConfig>,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
    private readonly database: Database,
    private readonly pressure: EventLoopPressure,
  ) {
    const { poolMax } = config;
    const permits = new PermitPool({
      max: poolMax,
      span: 'connection',
      queueSize: Infinity,
      queueTimeoutMs,
    });
    const limit = new AimdLimit(poolMax);
    this.permits = permits;
    database.watchWaiting(() => permits.queued);
    pressure.onSample((utilization) => {
      // Few permits make reads a tenth slower, and help nothing while all reads belong to one flow.
      const next = limit.next(pressure.hasSeveralFlows() ? utilization : 0);
      permits.resize(Math.min(poolMax, next + this.running.countLong()));
    });
  }

  /** Runs `work`, which uses one connection, with a permit, at most until it calls `release`. @throws as PermitPool.run. */
  async run<T>(request: PermitRequest, work: (release: () => void) => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.pressure.noteFlow(request.flow);
    let isGranted = false;
    try {
      return await this.permits.run(request, (release) => {
        isGranted = true;
        if (this.areConnectionsShort)
          this.database.acquisitions.recordBefore(performance.now() - startedMs);
        return this.running.count((end) =>
          work(() => {
            end();
            release();
          }),
        );
      });
    } catch (error) {
      // The disconnect of a client is no fault of the pool.
      if (!isGranted && isTooLate(error) && this.areConnectionsShort) {
        this.database.acquisitions.record(performance.now() - startedMs, false);
      }
      throw error;
    }
  }

  /** True when every connection has a permit. */
  private get areConnectionsShort(): boolean {
    return this.permits.max === this.config.poolMax;
  }
}

function isTooLate(error: unknown): boolean {
  return error instanceof AppError && ['QUEUE_TIMEOUT', 'REQUEST_TIMEOUT'].includes(error.code);
}

/**
 * Limit of concurrent work by additive increase and multiplicative decrease
 * (https://www.rfc-editor.org/rfc/rfc5681#section-3.1): more work than one thread can do speeds up nothing, and delays
 * every flow.
 */
export class AimdLimit {
  private limit: number;

  /** @param max limit while the event loop is not busy. */
  constructor(private readonly max: number) {
    this.limit = max;
  }

  /** Returns the new limit by the event loop's utilization (0 to 1) since the last call. */
  next(utilization: number): number {
    if (utilization > BUSY) this.limit = Math.max(MIN_LIMIT, Math.floor(this.limit / 2));
    else if (utilization < FREE) this.limit += 1;
    this.limit = Math.min(this.max, this.limit);
    return this.limit;
  }
}
