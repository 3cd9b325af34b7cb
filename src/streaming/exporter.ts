import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import { databaseConfig } from '../platform/config/database.config';
import { streamingConfig } from '../platform/config/streaming.config';
import { Database } from '../platform/database/database';
import { toDatabaseError } from '../platform/database/database-errors';
import type { DedicatedPool } from '../platform/database/dedicated-pool';
import { AppError } from '../platform/errors/app-error';
import { toAppError } from '../platform/errors/problem';
import { ExportRun, type ExportRequest } from './export-run';
import type { ExportStatistics } from './export-statistics';
import { StreamLimiter } from './stream-limiter';

/** How an export ended. */
export interface ExportOutcome {
  isComplete: boolean;
  /** Why it is not. */
  reason?: string;
  /** Rows that were read, and bytes that went out, by then. */
  rows: number;
  bytes: number;
}

/** What a caller wants served. */
export type ServeRequest = Omit<ExportRequest, 'chunkRows' | 'stallTimeoutMs'> & {
  /** Rows that are written at once; STREAMING_CHUNK_SIZE when left out. */
  chunkRows?: number;
  /** Told how it ended, unless nothing had been sent by then. */
  onSettled?: (outcome: ExportOutcome) => void;
};

/**
 * Serves exports: any rows that PostgreSQL can COPY, in any format, without holding more than a chunk of them. They
 * have their own limit and their own connections, so that stalled ones starve nobody else.
 */
@Injectable()
export class Exporter implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Exporter.name);
  private readonly limiter: StreamLimiter;
  private readonly pool: DedicatedPool;
  private readonly running = new Map<ExportRun, Promise<unknown>>();
  private readonly settled = {
    completed: 0,
    aborted: 0,
    failed: 0,
    refused: 0,
    rows: 0,
    bytes: 0,
    seconds: 0,
  };

  constructor(
    database: Database,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
    @Inject(databaseConfig.KEY) { acquireTimeoutMs }: ConfigType<typeof databaseConfig>,
  ) {
    const { maxConcurrent } = config;
    this.limiter = new StreamLimiter(maxConcurrent, 'exports');
    this.pool = database.dedicatedPool('exports', {
      max: maxConcurrent,
      timeoutMs: acquireTimeoutMs,
      isForCopy: true,
    });
  }

  /** @throws AppError NOT_FOUND when STREAMING_ENABLED is false. */
  requireEnabled(): void {
    if (!this.config.enabled) {
      throw new AppError('NOT_FOUND', 'Exports are switched off (STREAMING_ENABLED).');
    }
  }

  /**
   * Answers with an export, for a caller who holds a place (`enter`); resolves when the client has it, or has left.
   * @throws AppError the reason of the signal when the answer has not begun by then; whatever the database fails with: when the answer had not begun it is still to be made, otherwise
   * it has been cut.
   */
  async serve(request: ServeRequest, response: ServerResponse): Promise<void> {
    const { chunkSize, stallTimeoutMs } = this.config;
    const run = new ExportRun(
      { ...request, chunkRows: request.chunkRows ?? chunkSize, stallTimeoutMs },
      response,
    );
    const startedMs = performance.now();
    const work = this.pool.withClient((client) => run.run(client));
    this.running.set(run, work);
    let failure: AppError | undefined;
    try {
      await work;
    } catch (error) {
      failure = toDatabaseError(error);
    } finally {
      this.running.delete(run);
      this.settled.seconds += (performance.now() - startedMs) / 1000;
    }
    const { signal } = request;
    if (run.cutReason === 'token ended' && !response.headersSent && signal) {
      this.settled.refused += 1;
      throw toAppError(signal.reason);
    }
    this.settle(run, request, response.headersSent, failure);
  }

  statistics(): ExportStatistics {
    const running = [...this.running.keys()];
    const sum = (of: (run: ExportRun) => number) => running.reduce((all, run) => all + of(run), 0);
    return {
      ...this.settled,
      active: this.limiter.active,
      rows: this.settled.rows + sum(({ rows }) => rows),
      bytes: this.settled.bytes + sum(({ bytes }) => bytes),
    };
  }

  /** Those that still ran when the listener closed have been cut; here they are waited for. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.running.values());
  }

  /**
   * Takes a place for an export of this holder, before anything is asked of the database for it, and returns what gives it back.
   * @throws AppError TOO_MANY_REQUESTS.
   */
  enter(holder: string): () => void {
    try {
      return this.limiter.enter(holder);
    } catch (error) {
      this.settled.refused += 1;
      throw error;
    }
  }

  /** Counts and tells how an export ended, and throws what its caller has to answer or to hear of. */
  private settle(
    { rows, bytes, cutReason }: ExportRun,
    { onSettled }: ServeRequest,
    hasBegun: boolean,
    failure: AppError | undefined,
  ): void {
    this.settled.rows += rows;
    this.settled.bytes += bytes;
    if (failure === undefined) this.settled.completed += 1;
    else if (hasBegun || cutReason) this.settled.aborted += 1;
    else this.settled.failed += 1;
    const reason = cutReason ?? failure?.code;
    if (hasBegun) onSettled?.({ isComplete: failure === undefined, reason, rows, bytes });
    if (failure === undefined) return;
    if (cutReason) {
      this.logger.warn(`An export was cut after ${rows} rows: ${cutReason}.`);
      return;
    }
    if (!hasBegun) throw failure;
    throw new AppError(failure.code, `The export broke off after ${rows} rows. ${failure.detail}`, {
      cause: failure.cause,
    });
  }
}
