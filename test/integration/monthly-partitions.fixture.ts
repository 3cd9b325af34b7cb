import type { ClientBase } from 'pg';
import { addMonths, type Month } from '../../src/platform/database/partitions';

/** Makes a partition for each of these months, as earlier versions did for months of any age. */
export async function makeMonthly(client: ClientBase, months: readonly Month[]): Promise<void> {
  for (const month of months) {
    await makePartition(client, `audit_event_${month.replace('-', '')}`, [
      `'${month}-01T00:00:00Z'`,
      `'${addMonths(month, 1)}-01T00:00:00Z'`,
    ]);
  }
}

/** Makes a partition as an operator may: any name and bounds, these as SQL. */
export async function makePartition(
  client: ClientBase,
  name: string,
  [from, to]: readonly [string, string],
): Promise<void> {
  await client.query(
    `CREATE TABLE ${name} PARTITION OF audit_event FOR VALUES FROM (${from}) TO (${to})`,
  );
}
