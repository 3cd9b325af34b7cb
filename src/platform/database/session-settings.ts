import type { ClientBase } from 'pg';
import { SessionSettingsError } from './database-errors';

interface SessionSetting {
  name: string;
  value: string;
  /** Tells whether another value is acceptable. */
  serves?: (value: string) => boolean;
  /** True when another value only makes statements slower, and results stay the same. */
  isForSpeed?: boolean;
}

const UTC = new Set(['UTC', 'ETC/UTC', 'UCT', 'ETC/UCT', 'ZULU', 'ETC/ZULU', 'UNIVERSAL', 'GMT']);

/**
 * Settings of each session. `ALTER DATABASE`, `ALTER ROLE` and postgresql.conf may have other values, with which texts
 * of times, numbers and names differ, a null is stored as the text "NULL", or statements fail.
 */
const SETTINGS: readonly SessionSetting[] = [
  { name: 'timezone', value: 'UTC', serves: (zone) => UTC.has(zone.toUpperCase()) },
  { name: 'datestyle', value: 'ISO', serves: (style) => style.startsWith('ISO') },
  { name: 'intervalstyle', value: 'postgres' },
  { name: 'extra_float_digits', value: '1', serves: (digits) => Number(digits) >= 1 },
  { name: 'bytea_output', value: 'hex' },
  { name: 'standard_conforming_strings', value: 'on' },
  { name: 'array_nulls', value: 'on' },
  { name: 'transform_null_equals', value: 'off' },
  { name: 'quote_all_identifiers', value: 'off' },
  { name: 'row_security', value: 'on' },
  { name: 'default_transaction_isolation', value: 'read committed' },
  { name: 'default_transaction_read_only', value: 'off' },
  { name: 'default_transaction_deferrable', value: 'off' },
  { name: 'exit_on_error', value: 'off' },
  { name: 'lock_timeout', value: '0' },
  // Pools and transactions set their limits themselves.
  { name: 'statement_timeout', value: '0', serves: () => true },
  { name: 'idle_in_transaction_session_timeout', value: '0', serves: () => true },
  { name: 'idle_session_timeout', value: '0' },
  // Only a warning tells that a commit did not wait for its standby.
  { name: 'client_min_messages', value: 'warning', serves: (least) => least !== 'error' },
  // Pages over 84 partitions: 1 180 plans a second with `auto`, 1 420 with generic plans; deep pages 660 and 2 080
  // (docs/architecture.md).
  { name: 'plan_cache_mode', value: 'force_generic_plan', isForSpeed: true },
  // JIT compiles at each execution: an operator's page by sequence over 684 partitions and 400 organizations took 9.7 s
  // with it and 1.4 s without (PostgreSQL 15).
  { name: 'jit', value: 'off', isForSpeed: true },
  { name: 'enable_partition_pruning', value: 'on', isForSpeed: true },
];

const STARTUP_OPTIONS = SETTINGS.map(
  ({ name, value }) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`,
).join(' ');

/** Startup parameters with the settings, which take precedence over the settings of role and database. */
export interface SessionOptions {
  /** The URL without `options`, which would replace ours. */
  url: string;
  options: string;
}

/** Returns the options of a connection to `url`, after those of the URL (`?options=-c search_path=…`). */
export function sessionOptions(url: string): SessionOptions {
  if (!url.includes('options=')) return { url, options: STARTUP_OPTIONS };
  const parsed = new URL(url);
  const given = parsed.searchParams.getAll('options');
  parsed.searchParams.delete('options');
  return { url: parsed.href, options: [...given, STARTUP_OPTIONS].join(' ') };
}

/** Settings without a startup parameter: unknown to older versions, or a choice of the operator. */
const OBSERVED: readonly (SessionSetting & { reason: string })[] = [
  {
    name: 'transaction_timeout',
    value: '0',
    reason: 'exports and maintenance that take longer end unfinished',
  },
  {
    name: 'synchronous_commit',
    value: 'on',
    serves: (value) => value !== 'off',
    reason: 'acknowledged events are lost when PostgreSQL crashes',
  },
];

interface Found {
  name: string;
  /** Null for a setting that this version does not have. */
  value: string | null;
  role: string;
  /** First existing schema of search_path. */
  schema: string | null;
}

/**
 * Checks the settings of a session. A pooler may drop them silently (`ignore_startup_parameters` of PgBouncer), and in
 * another time zone every timestamp would be wrong.
 * @returns warnings about slow statements and commits that are not durable.
 * @throws SessionSettingsError with the statements that help, when results would be wrong.
 */
export async function assertSession(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<Found>(
    `SELECT name, current_setting(name, true) AS value, current_user::text AS role, current_schema()::text AS schema
     FROM unnest($1::text[]) AS t (name)`,
    [['server_encoding', 'search_path', ...[...SETTINGS, ...OBSERVED].map(({ name }) => name)]],
  );
  const values = new Map(rows.map(({ name, value }) => [name, value]));
  const { role = '…', schema } = rows[0] ?? {};
  const encoding = values.get('server_encoding');
  if (encoding !== 'UTF8') {
    throw new SessionSettingsError(
      `The database has the encoding ${encoding}, which cannot store every text of JSON. Create one with UTF8: ` +
        `CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'`,
    );
  }
  if (schema == null || schema.startsWith('pg_')) {
    throw new SessionSettingsError(
      `search_path (${values.get('search_path')}) names no schema for tables: ALTER ROLE ${role} SET search_path = public`,
    );
  }
  const isOther = ({ name, value, serves }: SessionSetting): boolean => {
    const found = values.get(name);
    return found != null && found !== value && serves?.(found) !== true;
  };
  const found = ({ name }: SessionSetting) => `${name} is ${values.get(name)}`;
  const remedy = ({ name, value }: SessionSetting) => `ALTER ROLE ${role} SET ${name} = '${value}'`;
  const others = SETTINGS.filter(isOther);
  const wrong = others.filter(({ isForSpeed }) => !isForSpeed);
  if (wrong.length > 0) {
    throw new SessionSettingsError(
      `Sessions have settings with which results would be wrong (${wrong.map(found).join(', ')}): what stands between ` +
        `the service and PostgreSQL drops the settings of connections. Give them to the role: ` +
        wrong.map(remedy).join('; '),
    );
  }
  return [
    ...others.map((slow) => `${found(slow)}: ${remedy(slow)}`),
    ...OBSERVED.filter(isOther).map((one) => `${found(one)}: ${one.reason}. ${remedy(one)}`),
  ];
}
