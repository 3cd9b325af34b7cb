import type { ClientBase } from 'pg';
import type { TableMaintenanceDto } from './dto/optimization-result.dto';
import { type MaintenanceRun, report } from './maintenance-run';
import { OWN_RELATIONS } from './own-relations';

/**
 * Autovacuum waits for `threshold + scale_factor * rows` (50 + 20 % dead rows, 50 + 10 % changed ones by default,
 * https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM). Inserts count the same: they only cost
 * the visibility map.
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

interface Rule {
  kind: 'vacuumed' | 'analyzed';
  isDue: (table: TableState) => boolean;
  reason: (table: TableState) => string;
}

/** The first due one is done. */
const RULES: Rule[] = [
  {
    kind: 'vacuumed',
    isDue: ({ deadRows, deadLimit }) => deadRows > deadLimit,
    reason: ({ deadRows, liveRows, deadLimit }) =>
      `${deadRows} dead rows beside ${liveRows} live ones (due from ${from(deadLimit)}).`,
  },
  {
    kind: 'vacuumed',
    isDue: ({ inserted, insertLimit }) => inserted > insertLimit,
    reason: ({ inserted, insertLimit }) =>
      `${inserted} rows inserted since the last VACUUM (due from ${from(insertLimit)}).`,
  },
  {
    kind: 'analyzed',
    isDue: ({ changed, changeLimit }) => changed > changeLimit,
    reason: ({ changed, changeLimit }) =>
      `${changed} rows changed since the last ANALYZE (due from ${from(changeLimit)}).`,
  },
];

/** Without truncation, which would lock the table exclusively. */
const STATEMENTS = { vacuumed: 'VACUUM (ANALYZE, TRUNCATE false)', analyzed: 'ANALYZE' };

/** Vacuums and analyses due tables, most dead rows first. */
export async function maintainTables(
  run: MaintenanceRun,
): Promise<Record<Rule['kind'], TableMaintenanceDto[]>> {
  const done: Record<Rule['kind'], TableMaintenanceDto[]> = { vacuumed: [], analyzed: [] };
  for (const table of await findTables(run.client)) {
    const rule = RULES.find(({ isDue }) => isDue(table));
    if (!rule) continue;
    const { name, liveRows, deadRows } = table;
    const { durationMs, skipped } = await run.run(`${STATEMENTS[rule.kind]} ${name}`);
    const { rows } = await run.client.query<{ dead: number }>(
      'SELECT pg_stat_get_dead_tuples(to_regclass($1))::float8 AS dead',
      [name],
    );
    done[rule.kind].push({
      table: name,
      ...report('done', rule.reason(table), skipped),
      liveRows,
      deadRowsBefore: deadRows,
      deadRowsAfter: rows[0]?.dead ?? 0,
      durationMs,
    });
  }
  return done;
}

async function findTables(client: ClientBase): Promise<TableState[]> {
  const limit = (kind: string) => `(current_setting('autovacuum_${kind}_threshold')::float8
    + current_setting('autovacuum_${kind}_scale_factor')::float8 * greatest(c.reltuples, 0))`;
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

const from = (limitRows: number) => Math.floor(limitRows) + 1;
