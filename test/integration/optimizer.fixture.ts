import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { databaseConfig, serverConfig } from '../../src/platform/config/settings';
import { DatabaseReport } from '../../src/maintenance/database-report';
import { MaintainedTables } from '../../src/platform/database/maintained-tables';
import { Optimizer } from '../../src/maintenance/optimizer';
import { MeasurementSources } from '../../src/metrics/measurement-sources';
import { maintenanceOf } from './maintenance.fixture';
import { sealingOf } from './sealing.fixture';
import type { Replica } from './replica.fixture';

function tablesOf(ahead = 1, retentionDays = 0): MaintainedTables {
  const tables = new MaintainedTables();
  tables.addPartitioned({ table: EVENT_TABLE, ahead, retentionDays });
  return tables;
}

/** The optimizer of a replica, which makes `ahead` months ahead. */
export const optimizerOf = (replica: Replica, ahead = 1) =>
  new Optimizer(
    replica.database,
    tablesOf(ahead),
    replica.partitions,
    sealingOf(replica),
    databaseConfig(),
  );

/** Its report, without a cache in front. */
export const reportOf = (replica: Replica, retentionDays = 0) =>
  new DatabaseReport(
    replica.database,
    tablesOf(1, retentionDays),
    new MeasurementSources(),
    maintenanceOf(replica),
    sealingOf(replica),
    databaseConfig(),
    serverConfig(),
  );
