import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Principal } from '../../auth/principal';
import { ConnectionLimiter } from '../../concurrency/connection-limiter';
import { FairScheduler, flowKey } from '../../concurrency/fair-scheduler';
import { PermitPool, type PermitRequest } from '../../concurrency/permit-pool';
import { requestSignal } from '../../http/request-context';
import {
  concurrencyConfig,
  databaseConfig,
  paginationConfig,
  serverConfig,
} from '../../platform/config/settings';
import { FIRST_ROWS, ReadPace, SHORT_MS, type PortionPermits } from './read-pace';

/** Part of the connections that long reads have together, at least one. */
const LONG_READS_PART = 0.2;
/** The pace of a read ends its wait long before. */
const NEVER_MS = 2 ** 31 - 1;

/** Permits of reads: one to work, and within it one for a connection. Writers limit their connections themselves. */
@Injectable()
export class ReadScheduler {
  /** Rows of the first portion of a read, and milliseconds of all and of a short one; tests have fewer. */
  readonly pace: { firstRows: number; budgetMs: number; shortMs: number };
  /** Long reads of all flows in rotation, one portion at a time each. */
  readonly longReads: PermitPool;

  constructor(
    private readonly scheduler: FairScheduler,
    private readonly connections: ConnectionLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
    @Inject(paginationConfig.KEY) { readBudgetMs }: ConfigType<typeof paginationConfig>,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
    @Inject(concurrencyConfig.KEY) concurrency: ConfigType<typeof concurrencyConfig>,
  ) {
    this.pace = { firstRows: FIRST_ROWS, budgetMs: readBudgetMs, shortMs: SHORT_MS };
    const { maxRequests, enableQueue, queueSize } = concurrency;
    this.longReads = new PermitPool({
      max: Math.max(1, Math.floor(LONG_READS_PART * poolMax)),
      queueSize: maxRequests + (enableQueue ? queueSize : 0),
      queueTimeoutMs: NEVER_MS,
    });
  }

  /** Reads for a response, until that closes or its time is over. @throws what FairScheduler.run throws. */
  readFor<T>(
    principal: Principal,
    response: ServerResponse,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return this.read({ flow: flowKey(principal), signal }, () => work(signal));
  }

  /** @throws what FairScheduler.assertCapacity throws. */
  assertCapacity(flow: string): void {
    this.scheduler.assertCapacity(flow);
  }

  /**
   * Runs `work` with the permits of a read, which it gives up when its pace makes it a long one.
   * @throws what FairScheduler.run throws.
   */
  read<T>(request: PermitRequest, work: (pace: ReadPace) => Promise<T>): Promise<T> {
    return this.scheduler.run(request, (releasePermit) =>
      this.connections.run(request, (releaseConnection) => {
        const release = (): void => {
          releaseConnection();
          releasePermit();
        };
        const permits: PortionPermits = {
          request,
          release,
          run: (own, portion) => this.turn(own, portion),
        };
        return work(new ReadPace({ ...this.pace, permits, signal: request.signal }));
      }),
    );
  }

  private turn<T>(request: PermitRequest, portion: () => Promise<T>): Promise<T> {
    return this.longReads.run({ ...request, isNotified: true }, () =>
      this.connections.run(request, portion),
    );
  }
}
