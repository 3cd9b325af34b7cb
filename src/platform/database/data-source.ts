import { Logger } from '@nestjs/common';
import { Client, type Pool, type PoolClient } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import type { DatabaseConfig } from '../config/settings';
import { isUnavailable } from './database-errors';
import { EmbeddedPostgresServer } from './embedded/embedded-postgres';
import { watchInterruptedWaits } from './commit-outcome';
import type { QueryTimes } from './database-statistics';
import { assertPrivileges } from './privileges';
import { assertSession, sessionOptions } from './session-settings';
import { boundStatementNames, dropStatementNames } from './statement-names';

const RETRY_DELAY_MS = 1000;
const SILENCE_GRACE_MS = 2000;
const IDLE_IN_TRANSACTION_MS = 5000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/** Data source that stops its embedded server when it is destroyed. */
export class OwningDataSource extends DataSource {
  constructor(
    options: DataSourceOptions,
    private readonly server?: EmbeddedPostgresServer,
  ) {
    super(options);
  }

  override async destroy(): Promise<void> {
    if (this.isInitialized) await super.destroy();
    await this.server?.stop();
  }
}

export function dataSourceOptions(
  givenUrl: string,
  config: DatabaseConfig,
  queries?: QueryTimes,
): DataSourceOptions {
  const { url, options } = sessionOptions(givenUrl);
  const logger = new Logger('Database');
  return {
    type: 'postgres',
    url,
    applicationName: 'audit-server',
    entities: [],
    synchronize: false,
    poolErrorHandler: (error: Error) =>
      logger.warn(`An idle connection was lost: ${error.message}`),
    extra: {
      min: config.poolMin,
      max: config.poolMax,
      connectionTimeoutMillis: config.acquireTimeoutMs,
      idleTimeoutMillis: config.idleTimeoutMs,
      statement_timeout: config.statementTimeoutMs, // none at 0, by sessionOptions
      // The server's timeout has no effect when the server or the network is silent.
      ...(config.statementTimeoutMs > 0
        ? { query_timeout: config.statementTimeoutMs + SILENCE_GRACE_MS }
        : {}),
      // A paused process must not hold the locks of its transaction for longer.
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      // A connection that is lost between two listeners of the pool emits an error, which would end the process.
      onConnect: (client: PoolClient) => {
        client.on('error', () => undefined);
        watchInterruptedWaits(client);
        if (config.preparedStatements) boundStatementNames(client);
        else dropStatementNames(client);
        queries?.watch(client);
      },
      // Independent statements share a round trip (Database.transaction).
      pipeline: true,
      // The system's default of two hours would hide a power cut of the server as long.
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
      options,
    },
  };
}

/** Resolves with the configured URL, or the URL of a new embedded server. */
export async function openServer(
  config: DatabaseConfig,
): Promise<{ url: string; server?: EmbeddedPostgresServer }> {
  if (config.url !== undefined) return { url: config.url };
  const logger = new Logger('EmbeddedPostgres');
  const server = await EmbeddedPostgresServer.start({
    dataDir: config.dataDir,
    log: (line) => logger.log(line),
    warn: (line) => logger.warn(line),
  });
  return { url: server.url, server };
}

/**
 * Waits until the server accepts connections, without a limit: an orchestrator's start-up probe decides when to stop.
 * @throws Error for a refusal that is permanent (wrong password, no such database).
 */
export async function waitForServer(url: string): Promise<void> {
  const logger = new Logger('Database');
  for (let attempt = 1; ; attempt += 1) {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 });
    client.on('error', () => undefined); // reported by `connect`
    try {
      await client.connect();
      return;
    } catch (error) {
      if (!isUnavailable(error)) {
        const { host, pathname } = new URL(url);
        const reason = error instanceof Error ? error.message : String(error);
        throw new Error(`DATABASE_URL (${host}${pathname}) was refused: ${reason}`, {
          cause: error,
        });
      }
      const reason = error instanceof Error ? error.message || error.constructor.name : 'unknown';
      logger.warn(`The database does not answer (attempt ${attempt}): ${reason}. Trying again.`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

export function poolOf(dataSource: DataSource): Pool {
  return (dataSource.driver as PostgresDriver).master as Pool;
}

/**
 * Checks the settings (session-settings.ts) and the privileges of a pool's sessions; warns when `statement_timeout` is
 * not set.
 * @throws SessionSettingsError with the statements that help, when results would be wrong; Error for missing privileges.
 */
export async function assertSessions(dataSource: DataSource): Promise<void> {
  const client = await poolOf(dataSource).connect();
  try {
    const warnings = await assertSession(client);
    await assertPrivileges(client);
    const { rows } = await client.query<{ timeout: string }>(
      `SELECT current_setting('statement_timeout') AS timeout`,
    );
    if (rows[0]?.timeout === '0' && isTimeoutAsked(dataSource)) {
      warnings.push(
        `statement_timeout does not arrive: ALTER ROLE … SET statement_timeout = '30s'`,
      );
    }
    const logger = new Logger('Database');
    for (const warning of warnings) logger.warn(warning);
  } finally {
    client.release();
  }
}

function isTimeoutAsked({ options }: DataSource): boolean {
  const { statement_timeout: asked } = (options as { extra: { statement_timeout?: number } }).extra;
  return asked !== undefined && asked > 0;
}
