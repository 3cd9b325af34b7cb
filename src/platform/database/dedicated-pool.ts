import { Pool, type PoolClient, type PoolConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';
import type { PostgresDataSourceOptions } from 'typeorm/driver/postgres/PostgresDataSourceOptions';
import { toDatabaseError } from './database-errors';
import { withConnection } from './connection-lease';
import type { SpanSink } from '../runtime/time-spans';

/** Time in which PostgreSQL's timeout answers before pg's. */
const SILENCE_GRACE_MS = 500;

export interface DedicatedPoolOptions {
  max: number;
  /** Limit for a connection, and for a statement. */
  timeoutMs: number;
  /** Limit for a connection; default `timeoutMs`. */
  connectTimeoutMs?: number;
  /** Removes the limit of statements, as an export is as slow as its reader, and pipelining, in which pg has no COPY. */
  isForCopy?: boolean;
}

/**
 * Pool of connections to the primary for work that must not wait for the main pool. They are opened on first use, and
 * their `application_name` ends in the name of the pool.
 */
export class DedicatedPool {
  readonly max: number;
  readonly isForCopy: boolean;
  private readonly pool: Pool;

  constructor(main: DataSourceOptions, name: string, options: DedicatedPoolOptions) {
    const { url, applicationName, poolErrorHandler } = main as PostgresDataSourceOptions;
    const { max, timeoutMs, connectTimeoutMs = timeoutMs, isForCopy = false } = options;
    this.max = max;
    this.isForCopy = isForCopy;
    this.pool = new Pool({
      ...(main.extra as PoolConfig),
      connectionString: url,
      application_name: `${applicationName} ${name}`,
      pipeline: !isForCopy,
      min: 0,
      max,
      connectionTimeoutMillis: connectTimeoutMs,
      statement_timeout: isForCopy ? 0 : timeoutMs,
      query_timeout: isForCopy ? undefined : timeoutMs + SILENCE_GRACE_MS,
    });
    this.pool.on('error', (error) => {
      poolErrorHandler?.(error);
    });
  }

  /**
   * Runs `work` outside a transaction; an abort of the signal cancels it in PostgreSQL.
   * @throws AppError as Database does: DATABASE_UNAVAILABLE without a connection, or an answer, in time.
   */
  async withClient<T>(
    work: (client: PoolClient) => Promise<T>,
    signal?: AbortSignal,
    spans?: SpanSink,
  ): Promise<T> {
    try {
      return await withConnection(this.pool, work, signal, spans);
    } catch (error) {
      throw toDatabaseError(error);
    }
  }

  close(): Promise<void> {
    return this.pool.end();
  }
}
