import type { ClientBase } from 'pg';
import type { ExpiringTable } from '../platform/database/maintained-tables';

/** Rows of one statement: some milliseconds of work and of locks. */
const BATCH_ROWS = 1000;

/**
 * Deletes expired rows, each batch in its own transaction; leaves locked rows for the next run. Resolves with their
 * number.
 */
export async function deleteExpired(
  client: ClientBase,
  { table, timeColumn, keepHours }: ExpiringTable,
  isStopping: () => boolean,
): Promise<number> {
  // Identifiers cannot be bound; they come from our code.
  const text = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ${table} WHERE ${timeColumn} < now() - $1 * interval '1 hour'
      ORDER BY ${timeColumn} LIMIT ${BATCH_ROWS} FOR UPDATE SKIP LOCKED))`;
  let deleted = 0;
  while (!isStopping()) {
    const { rowCount } = await client.query(text, [keepHours]);
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < BATCH_ROWS) break;
  }
  return deleted;
}
