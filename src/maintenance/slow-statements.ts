import type { ClientBase } from 'pg';
import { isUnavailable } from '../platform/database/database-errors';

const NAMED = 3;
const SHOWN_CHARACTERS = 120;

/** Statements of this role over a threshold, with notes on the slowest. */
export interface SlowStatements {
  count: number;
  notes: string[];
}

/**
 * From pg_stat_statements where installed and readable: statements without values, by average. Else from
 * pg_stat_activity, those running now.
 */
export async function findSlowStatements(
  client: ClientBase,
  thresholdMs: number,
): Promise<SlowStatements> {
  const schema = await statementsSchema(client);
  if (schema === undefined) {
    const missing =
      'Statements are not recorded: the extension pg_stat_statements is not installed. Only those that run right now can be told.';
    return running(client, thresholdMs, missing);
  }
  try {
    return await recorded(client, schema, thresholdMs);
  } catch (error) {
    if (isUnavailable(error)) throw error;
    const { message } = error as Error;
    return running(client, thresholdMs, `pg_stat_statements cannot be read: ${message}.`);
  }
}

async function statementsSchema(client: ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<{ schema: string }>(
    `SELECT extnamespace::regnamespace::text AS schema FROM pg_extension WHERE extname = 'pg_stat_statements'`,
  );
  return rows[0]?.schema;
}

async function recorded(
  client: ClientBase,
  schema: string,
  thresholdMs: number,
): Promise<SlowStatements> {
  const { rows } = await client.query<{ text: string; calls: number; mean: number; all: number }>(
    `SELECT query AS text, calls::float8 AS calls, mean_exec_time AS mean, (count(*) OVER ())::int AS all
     FROM ${schema}.pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND mean_exec_time >= $1
     ORDER BY total_exec_time DESC LIMIT ${NAMED}`,
    [thresholdMs],
  );
  const notes = rows.map(({ text, calls, mean }) => {
    const short = text.replace(/\s+/g, ' ').trim().slice(0, SHOWN_CHARACTERS);
    return `${Math.round(mean)} ms on average over ${calls} calls (pg_stat_statements): ${short}`;
  });
  return { count: rows[0]?.all ?? 0, notes };
}

async function running(
  client: ClientBase,
  thresholdMs: number,
  note: string,
): Promise<SlowStatements> {
  const { rows } = await client.query<{ pid: number; ms: number }>(
    `SELECT pid, (extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS ms
     FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND state = 'active' AND pid <> pg_backend_pid()
       AND query_start < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY 2 DESC`,
    [thresholdMs],
  );
  const now = rows.slice(0, NAMED).map(({ pid, ms }) => {
    return `A statement has run for ${Math.round(ms)} ms (pg_stat_activity, process ${pid}).`;
  });
  return { count: rows.length, notes: [...now, note] };
}
