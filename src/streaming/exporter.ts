import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import { databaseConfig, streamingConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { toDatabaseError } from '../platform/database/database-errors';
import type { DedicatedPool } from '../platform/database/connection-loan';
import { AppError } from '../platform/errors/app-error';
import { toAppError } from '../platform/errors/problem';
import { ExportRun, type ExportRequest } from './export-run';
import { StreamLimiter } from './stream-limiter';

/** Exports of this process since its start; `active` is current. */
export interface ExportStatistics {
  active: number;
  /** Received in full by the client. */
  completed: number;
  /** Client disconnected or stalled, or the database failed after the first byte. */
  aborted: number;
  /** The database failed before the first byte. */
  failed: number;
  /** Refused as too many ran. */
  refused: number;
  /** Rows and bytes (as sent, compressed), running exports included. */
  rows: number;
  bytes: number;
  /** Total duration of ended exports. */
  seconds: number;
}

export interface ExportOutcome {
  isComplete: boolean;
  reason?: string;
  rows: number;
  bytes: number;
}

export type ServeRequest = Omit<ExportRequest, 'chunkRows' | 'stallTimeoutMs'> & {
  /** STREAMING_CHUNK_SIZE by default. */
  chunkRows?: number;
  /** Notified of its end, unless nothing was sent. */
  onSettled?: (outcome: ExportOutcome) => void;
};

/**
 * Exports of any rows that PostgreSQL can COPY, holding one chunk at a time. Own limit and connections, so that stalled
 * ones do not starve other requests.
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
   * Responds for a caller with a slot; resolves when the client has received the export or disconnected.
   * @throws AppError the signal's reason when the response has not begun; the database's failure: the response is still
   * to be made if it had not begun, and else disconnected.
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
    if (run.disconnectReason === 'token ended' && !response.headersSent && signal) {
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

  /** Waits for exports that the closing listener has disconnected. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.running.values());
  }

  /**
   * Acquires a slot before any work of the database; the returned function releases it.
   * @throws AppError TOO_MANY_REQUESTS.
   */
  acquire(owner: string): () => void {
    try {
      return this.limiter.acquire(owner);
    } catch (error) {
      this.settled.refused += 1;
      throw error;
    }
  }

  /** Throws the failure that the caller has to handle. */
  private settle(
    { rows, bytes, disconnectReason }: ExportRun,
    { onSettled }: ServeRequest,
    hasBegun: boolean,
    failure: AppError | undefined,
  ): void {
    this.settled.rows += rows;
    this.settled.bytes += bytes;
    if (failure === undefined) this.settled.completed += 1;
    else if (hasBegun || disconnectReason) this.settled.aborted += 1;
    else this.settled.failed += 1;
    const reason = disconnectReason ?? failure?.code;
    if (hasBegun) onSettled?.({ isComplete: failure === undefined, reason, rows, bytes });
    if (failure === undefined) return;
    if (disconnectReason) {
      this.logger.warn(`An export was cut after ${rows} rows: ${disconnectReason}.`);
      return;
    }
    if (!hasBegun) throw failure;
    throw new AppError(failure.code, `The export broke off after ${rows} rows. ${failure.detail}`, {
      cause: failure.cause,
    });
  }
}
