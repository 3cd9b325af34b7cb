import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { forgetExpired } from '../../src/audit/write/expired-events';
import {
  MaintainedTables,
  type PartitionedTable,
} from '../../src/platform/database/maintained-tables';
import { addMonths, monthOf } from '../../src/platform/database/partitions';
import { databaseConfig } from '../../src/platform/config/settings';
import { Maintenance } from '../../src/maintenance/maintenance';
import { newEvent, receiptsIn, type Receipt, type Replica, writeRequest } from './replica.fixture';

export const RETENTION_DAYS = 400;
export const THIS_MONTH = monthOf(new Date().toISOString());

/** A month wholly past the retention, and more so with each number. */
export const oldMonth = (number: number) => addMonths(THIS_MONTH, -16 - number);
export const inMonth = (month: string) => `${month}-15T12:00:00.000000Z`;

/** The maintenance of a replica, with the tables that the modules register; its clock is confirmed unless a witness is given. */
export function maintenanceOf(
  { database, partitions }: Replica,
  retentionDays = RETENTION_DAYS,
  afterHidden = forgetExpired,
  wasRecordedBetween: PartitionedTable['wasRecordedBetween'] = () => Promise.resolve(true),
): Maintenance {
  const tables = new MaintainedTables();
  tables.addPartitioned({
    table: EVENT_TABLE,
    ahead: 2,
    retentionDays,
    afterHidden,
    wasRecordedBetween,
  });
  tables.addExpiring({ table: 'idempotency_record', timeColumn: 'created_at', keepHours: 25 });
  return new Maintenance(database, tables, partitions, databaseConfig());
}

/** Writes one event. */
export async function record(
  replica: Replica,
  changes: Parameters<typeof newEvent>[0],
): Promise<Receipt | undefined> {
  return receiptsIn(await replica.writer.write(writeRequest([newEvent(changes)])))[0];
}
