import type { ClientBase } from 'pg';
import type { TableMaintenanceDto } from './dto/optimization-result.dto';
import type { MaintenanceRun } from './maintenance-run';
import { OWN_RELATIONS } from './own-relations';

/**
 * Autovacuum waits for `threshold + scale_factor * rows` (50 + 20 % dead rows, 50 + 10 % changed ones by default,
 * https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM). Who asks for it does not want to wait so
 * long: a quarter of that. Inserts count as autovacuum counts them: they only leave the visibility map behind.
 */
const SHARE_OF_AUTOVACUUM = 0.25;

interface TableState {
  name: string;
  liveRows: number;
  deadRows: number;
  deadLimit: number;
  inserted: number;
  insertLimit: number;
  changed: number;
  changeLimit: number;
}

const limit = (kind: string) => `(current_setting('autovacuum_${kind}_threshold')::float8
  + current_setting('autovacuum_${kind}_scale_factor')::float8 * greatest(c.reltuples, 0))`;

async function findTables(client: ClientBase): Promise<TableState[]> {
  const { rows } = await client.query<TableState>(
    `SELECT c.oid::regclass::text AS name, s.n_live_tup::float8 AS "liveRows", s.n_dead_tup::float8 AS "deadRows",
            ${limit('vacuum')} * $1 AS "deadLimit",
            s.n_ins_since_vacuum::float8 AS inserted, ${limit('vacuum_insert')} AS "insertLimit",
            s.n_mod_since_analyze::float8 AS changed, ${limit('analyze')} * $1 AS "changeLimit"
     FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
     WHERE c.relkind = 'r' AND ${OWN_RELATIONS} ORDER BY s.n_dead_tup DESC, 1`,
    [SHARE_OF_AUTOVACUUM],
  );
  return rows;
}

/** Vacuums and analyses the tables that are due, those with the most dead rows first. */
export async function maintainTables(
  run: MaintenanceRun,
): Promise<{ vacuumed: TableMaintenanceDto[]; analyzed: TableMaintenanceDto[] }> {
  const done = { vacuumed: [] as TableMaintenanceDto[], analyzed: [] as TableMaintenanceDto[] };
  for (const table of await findTables(run.client)) {
    const vacuumReason = whyVacuum(table);
    if (vacuumReason !== undefined) {
      // Cutting off empty pages at the end would lock the table against everybody.
      const statement = `VACUUM (ANALYZE, TRUNCATE false) ${table.name}`;
      done.vacuumed.push(await maintain(run, table, vacuumReason, statement));
    } else if (table.changed > table.changeLimit) {
      const reason = `${table.changed} rows changed since the last ANALYZE (due from ${from(table.changeLimit)}).`;
      done.analyzed.push(await maintain(run, table, reason, `ANALYZE ${table.name}`));
    }
  }
  return done;
}

function whyVacuum(table: TableState): string | undefined {
  const { liveRows, deadRows, deadLimit, inserted, insertLimit } = table;
  if (deadRows > deadLimit) {
    return `${deadRows} dead rows beside ${liveRows} live ones (due from ${from(deadLimit)}).`;
  }
  if (inserted > insertLimit) {
    return `${inserted} rows inserted since the last VACUUM (due from ${from(insertLimit)}).`;
  }
  return undefined;
}

const from = (limitRows: number) => Math.floor(limitRows) + 1;

async function maintain(
  run: MaintenanceRun,
  { name, liveRows, deadRows }: TableState,
  due: string,
  statement: string,
): Promise<TableMaintenanceDto> {
  const { durationMs, skipped } = await run.run(statement);
  const { rows } = await run.client.query<{ dead: number }>(
    'SELECT pg_stat_get_dead_tuples(to_regclass($1))::float8 AS dead',
    [name],
  );
  return {
    table: name,
    action: skipped === undefined ? 'done' : 'skipped',
    reason: skipped === undefined ? due : `${skipped} Due: ${due}`,
    liveRows,
    deadRowsBefore: deadRows,
    deadRowsAfter: rows[0]?.dead ?? 0,
    durationMs,
  };
}
