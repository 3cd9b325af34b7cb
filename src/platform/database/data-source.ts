import { Logger } from '@nestjs/common';
import { Client, type Pool, type PoolClient } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import type { DatabaseConfig } from '../config/settings';
import { isUnavailable } from './database-errors';
import { EmbeddedPostgresServer } from './embedded/embedded-postgres';
import { watchInterruptedWaits } from './commit-outcome';
import type { QueryTimes } from './database-statistics';
import { boundStatementNames, dropStatementNames } from './statement-names';

const RETRY_DELAY_MS = 1000;
const SILENCE_GRACE_MS = 2000;
const IDLE_IN_TRANSACTION_MS = 5000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/** Data source that stops its embedded server when destroyed. */
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
  url: string,
  config: DatabaseConfig,
  queries?: QueryTimes,
): DataSourceOptions {
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
      statement_timeout: config.statementTimeoutMs,
      // The server's timeout does not help when the server or the network is silent.
      ...(config.statementTimeoutMs > 0
        ? { query_timeout: config.statementTimeoutMs + SILENCE_GRACE_MS }
        : {}),
      // Limits how long a paused process holds the locks of its transaction.
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      // A lost connection emits an error between two listeners of the pool, too, which would end the process.
      onConnect: (client: PoolClient) => {
        client.on('error', () => undefined);
        watchInterruptedWaits(client);
        if (config.preparedStatements) boundStatementNames(client);
        else dropStatementNames(client);
        queries?.watch(client);
      },
      // Independent statements share a round trip (Database.transaction).
      pipeline: true,
      // The system's delay of two hours would hide a power cut of the other side for hours.
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
      // Pages over 84 partitions: 1 180 plans a second with `auto`, 1 420 with generic plans; deep pages 660 and 2 080
      // (docs/architecture.md). JIT compiles at each execution: an operator's page by sequence over 684 partitions and
      // 400 organizations took 9.7 s with it and 1.4 s without (PostgreSQL 15). A commit that did not wait for its
      // standby shows only in a warning.
      options:
        '-c plan_cache_mode=force_generic_plan -c jit=off -c timezone=UTC -c datestyle=ISO -c client_min_messages=warning',
    },
  };
}

/** Resolves with the configured URL, or that of a new embedded server. */
export async function openServer(
  config: DatabaseConfig,
): Promise<{ url: string; server?: EmbeddedPostgresServer }> {
  if (config.url !== undefined) return { url: config.url };
  const logger = new Logger('EmbeddedPostgres');
  const server = await EmbeddedPostgresServer.start({
    dataDir: config.dataDir,
    log: (line) => logger.log(line),
  });
  return { url: server.url, server };
}

/**
 * Waits without a limit until the server takes connections: an orchestrator's start-up probe decides when to stop.
 * @throws Error for a refusal that does not pass (wrong password, no such database).
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

/** Settings of `dataSourceOptions` as PostgreSQL shows them. */
interface SessionSettings {
  timezone: string;
  datestyle: string;
  plan: string;
  jit: string;
  /** Milliseconds; 0 for none. */
  timeout: number;
  /** Minimum severity. */
  messages: string;
}

const UTC = new Set(['UTC', 'ETC/UTC', 'UCT', 'ETC/UCT', 'ZULU', 'ETC/ZULU', 'UNIVERSAL', 'GMT']);

/**
 * Checks the settings of sessions. A pooler may drop them silently (`ignore_startup_parameters` of PgBouncer), and in
 * another time zone every timestamp would be wrong. Warns when results would be slow.
 * @throws Error with the statement that helps, when results would be wrong.
 */
export async function assertSession(dataSource: DataSource): Promise<void> {
  const [settings] = await dataSource.query<SessionSettings[]>(
    `SELECT current_setting('timezone') AS timezone, current_setting('datestyle') AS datestyle,
       current_setting('plan_cache_mode') AS plan, current_setting('jit') AS jit,
       current_setting('client_min_messages') AS messages,
       (SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout') AS timeout`,
  );
  if (!settings) throw new Error('PostgreSQL does not tell its settings');
  const { timezone, datestyle, plan, jit, timeout, messages } = settings;
  if (!UTC.has(timezone.toUpperCase()) || !datestyle.startsWith('ISO')) {
    throw new Error(
      `Sessions have the time zone ${timezone} and the date style ${datestyle}: what stands between the service and ` +
        `PostgreSQL drops the settings of connections. Give them to the role: ALTER ROLE … SET timezone = 'UTC'; ` +
        `ALTER ROLE … SET datestyle = 'ISO'`,
    );
  }
  if (messages === 'error') {
    throw new Error(
      `client_min_messages is error: PostgreSQL would not tell when a commit has not reached its synchronous standby, and ` +
        `events would be acknowledged that a failover loses. ALTER ROLE … SET client_min_messages = 'warning'`,
    );
  }
  const logger = new Logger('Database');
  if (plan !== 'force_generic_plan') {
    logger.warn(
      `plan_cache_mode is ${plan}: ALTER ROLE … SET plan_cache_mode = 'force_generic_plan'`,
    );
  }
  if (jit !== 'off') logger.warn(`jit is ${jit}: ALTER ROLE … SET jit = 'off'`);
  if (timeout === 0 && isTimeoutAsked(dataSource)) {
    logger.warn(`statement_timeout does not arrive: ALTER ROLE … SET statement_timeout = '30s'`);
  }
}

function isTimeoutAsked({ options }: DataSource): boolean {
  const { statement_timeout: asked } = (options as { extra: { statement_timeout?: number } }).extra;
  return asked !== undefined && asked > 0;
}
