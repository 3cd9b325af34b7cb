import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';

/** Settings (data-source.ts) as PostgreSQL shows them. */
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
