import { Pool, type PoolClient, type PoolConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';
import type { PostgresDataSourceOptions } from 'typeorm/driver/postgres/PostgresDataSourceOptions';
import { toDatabaseError } from './database-errors';
import { withConnection } from './connection-loan';

/** How long after PostgreSQL's own timeout an answer may come before the way to it is taken for silent. */
const SILENCE_GRACE_MS = 500;

export interface DedicatedPoolOptions {
  /** Most connections. */
  max: number;
  /** Milliseconds to wait for a connection, and again for the end of a statement. */
  timeoutMs: number;
  /** Milliseconds to wait for a connection, when that should be less. */
  connectTimeoutMs?: number;
  /**
   * For COPY (CopyOut): statements run as long as they take, as an export takes as long as its reader is slow, and none
   * is sent before the one before it is answered, as pg knows no queries of others' making in a pipeline.
   */
  isForCopy?: boolean;
}

/**
 * Connections to the primary beside its large pool, for what must not wait behind it. They are opened on first use, in
 * the same way as those of the large pool, and named in `application_name`. Made by Database.dedicatedPool, which closes it.
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
   * Runs `work` on one of its connections, outside a transaction; when the signal aborts, it is cancelled in PostgreSQL.
   * @throws AppError as Database does: DATABASE_UNAVAILABLE when no connection or no answer is to be had in time.
   */
  async withClient<T>(work: (client: PoolClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await withConnection(this.pool, work, signal);
    } catch (error) {
      throw toDatabaseError(error);
    }
  }

  /** Resolves when its connections are closed; those that are lent out are waited for. */
  close(): Promise<void> {
    return this.pool.end();
  }
}
