import { Pool, type PoolClient, type PoolConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';
import type { PostgresDataSourceOptions } from 'typeorm/driver/postgres/PostgresDataSourceOptions';
import { toDatabaseError } from './database-errors';
import { withConnection } from './connection-loan';

/** Time after PostgreSQL's own timeout in which an answer may still come. */
const SILENCE_GRACE_MS = 500;

export interface DedicatedPoolOptions {
  max: number;
  /** Milliseconds to wait for a connection, and again for the end of a statement. */
  timeoutMs: number;
  /** Milliseconds to wait for a connection, when that should be less. */
  connectTimeoutMs?: number;
  /**
   * For COPY (CopyOut): no limit, as an export is as slow as its reader, and no pipeline, in which pg knows no
   * submittables.
   */
  isForCopy?: boolean;
}

/**
 * Connections to the primary for work that must not wait for its large pool; opened on first use and named in
 * `application_name`. Made and closed by Database.
 */
export class DedicatedPool {
  private readonly pool: Pool;

  constructor(main: DataSourceOptions, name: string, options: DedicatedPoolOptions) {
    const { url, applicationName, poolErrorHandler } = main as PostgresDataSourceOptions;
    const { max, timeoutMs, connectTimeoutMs = timeoutMs, isForCopy = false } = options;
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
   * Runs `work` on one of its connections, outside a transaction; cancelled in PostgreSQL when the signal aborts.
   * @throws AppError as Database does: DATABASE_UNAVAILABLE without a connection or an answer in time.
   */
  async withClient<T>(work: (client: PoolClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await withConnection(this.pool, work, signal);
    } catch (error) {
      throw toDatabaseError(error);
    }
  }

  close(): Promise<void> {
    return this.pool.end();
  }
}
