import type { ClientBase } from 'pg';
import type { Database } from './database';

/**
 * Checks that the rows of a table are on one server. Citus distributes tables by row (`h`, `r` and `a` in
 * `pg_dist_partition`), or as part of a schema (`n`), which keeps a transaction on one server.
 * @throws Error that names the supported distribution.
 */
export async function assertOneServer(database: Database, table: string): Promise<void> {
  if (!(await database.withClient((client) => isDistributedByRow(client, table)))) return;
  throw new Error(
    `${table} is distributed by row over several servers (Citus): writes fail, and reads over several organizations ` +
      `miss acknowledged events. Give each group of organizations a database, or a distributed schema, of its own, with ` +
      `its own replicas of this service (docs/operations.md, "Beyond one PostgreSQL"). The table becomes an ordinary one by ` +
      `SELECT undistribute_table('${table}')`,
  );
}

async function isDistributedByRow(client: ClientBase, table: string): Promise<boolean> {
  const { rows } = await client.query<{ catalogue: string | null }>(
    `SELECT to_regclass('pg_dist_partition')::text AS catalogue`,
  );
  const catalogue = rows[0]?.catalogue;
  if (!catalogue) return false;
  const { rowCount } = await client.query(
    `SELECT FROM ${catalogue} WHERE logicalrelid = $1::regclass AND partmethod <> 'n'`,
    [table],
  );
  return rowCount !== 0;
}
