import type { Client, ClientBase } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { SEARCH_INDEXES } from '../../src/audit/search/search-indexes';
import { Sealing } from '../../src/maintenance/sealing';
import { databaseConfig, type DatabaseConfig } from '../../src/platform/config/settings';
import { MaintainedTables } from '../../src/platform/database/maintained-tables';
import { addMonths } from '../../src/platform/database/partitions';
import { THIS_MONTH } from './maintenance.fixture';
import { makePartition } from './monthly-partitions.fixture';
import type { Replica } from './replica.fixture';

/**
 * Makes a partition that grows: of this month and the one before, so that what is true of it does not depend on the day.
 */
export function makeGrowing(client: ClientBase): Promise<void> {
  const [from, to] = [addMonths(THIS_MONTH, -1), addMonths(THIS_MONTH, 1)];
  return makePartition(client, `audit_event_${THIS_MONTH.replace('-', '')}`, [
    `'${from}-01T00:00:00Z'`,
    `'${to}-01T00:00:00Z'`,
  ]);
}

/** The builder of a replica's sealed indexes; ranges of a growing partition from `sealEvents` on. */
export function sealingOf(
  { database }: Replica,
  changes: Partial<DatabaseConfig> = {},
  sealedIndexes = SEARCH_INDEXES,
): Sealing {
  const tables = new MaintainedTables();
  tables.addPartitioned({
    table: EVENT_TABLE,
    ahead: 2,
    retentionDays: 0,
    sealedIndexes,
  });
  return new Sealing(database, tables, { ...databaseConfig(), sealEvents: 100, ...changes });
}

/** Looks twice, as how fast a partition grows shows only then; resolves with the names of what the second one built. */
export async function sealAll(sealing: Sealing): Promise<string[]> {
  await sealing.run();
  return ((await sealing.run()) ?? []).map(({ name }) => name);
}

/** The seals of all partitions, by partition and key, in the order of their names. */
export async function listSeals(
  admin: Client,
): Promise<{ table: string; name: string; isValid: boolean; condition: string | null }[]> {
  const { rows } = await admin.query<{
    table: string;
    name: string;
    isValid: boolean;
    condition: string | null;
  }>(
    `SELECT x.indrelid::regclass::text AS table, c.relname AS name, x.indisvalid AS "isValid",
            pg_get_expr(x.indpred, x.indrelid) AS condition
     FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE c.relname LIKE 'audit\\_event\\_seal\\_%' ORDER BY 1, 2`,
  );
  return rows;
}
