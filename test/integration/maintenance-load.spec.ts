import { makeMonthly } from './monthly-partitions.fixture';
import type { Replica } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { addMonths } from '../../src/platform/database/partitions';
import { until } from './until.fixture';
import { inMonth, oldMonth, record, THIS_MONTH, maintenanceOf } from './maintenance.fixture';

/** A statement that waits for a lock that maintenance holds or waits for first. */
interface Waiting {
  statement: string;
  mode: string;
  /** The table by its number, as a dropped one has no name left; for a row, the tables whose rows maintenance changes. */
  tables: number[];
}

// Who blocks whom and who waits for what are read at two moments: a wait counts only if maintenance holds the same object then,
// or stands before it for that.
const WAITING_FOR_UPKEEP = `
  WITH lock AS MATERIALIZED (
    SELECT pid, mode, granted, locktype, relation, row(locktype, database, relation, page, tuple, virtualxid,
      transactionid, classid, objid, objsubid) AS object
    FROM pg_locks
  )
  SELECT a.pid || ' at ' || a.query_start AS statement, w.mode, ARRAY(
      SELECT w.relation::bigint::float8 WHERE w.relation IS NOT NULL UNION
      SELECT c.oid::bigint::float8 FROM lock r JOIN pg_class c ON c.oid = r.relation AND c.relkind IN ('r', 'p')
      WHERE w.relation IS NULL AND r.pid = held.pid AND r.mode = 'RowExclusiveLock' AND r.granted
    ) AS tables
  FROM lock w JOIN pg_stat_activity a ON a.pid = w.pid
  JOIN lock held ON held.object IS NOT DISTINCT FROM w.object AND held.pid <> w.pid
  JOIN pg_stat_activity u ON u.pid = held.pid
  WHERE NOT w.granted AND u.application_name LIKE '%upkeep' AND u.datname = current_database()
    AND u.pid = ANY (pg_blocking_pids(w.pid))`;

describe('maintenance under load', () => {
  const replicas = useTwoReplicas();
  let one: Replica;
  let two: Replica;
  beforeAll(() => {
    ({ one, two } = replicas);
  });

  it('lets readers and writers go on while it drops months', async () => {
    const organization = newOrganization();
    const months = Array.from({ length: 24 }, (_, index) => oldMonth(10 + index));
    await makeMonthly(replicas.admin, months);
    for (const month of months) {
      await record(one, { organizationId: organization, timestamp: inMonth(month) });
    }
    let isOver = false;
    const failures: unknown[] = [];
    let done = 0;
    const work = async (step: (turn: number) => Promise<unknown>) => {
      for (let turn = 0; !isOver; turn += 1) {
        await step(turn).catch((error: unknown) => failures.push(error));
        done += 1;
      }
    };
    const running = [one, two].flatMap((replica) => [
      work(() => record(replica, { organizationId: organization })),
      work((turn) =>
        record(replica, {
          organizationId: organization,
          timestamp: inMonth(addMonths(THIS_MONTH, -(turn % 12))),
        }),
      ),
      work(() =>
        replica.database.withClient((c) =>
          c.query({
            name: 'all',
            text: 'SELECT count(*) FROM audit_event WHERE organization_id = $1',
            values: [organization],
          }),
        ),
      ),
      work(() =>
        replica.database.withClient((c) =>
          c.query({
            name: 'newest',
            text: 'SELECT id FROM audit_event WHERE organization_id = $1 AND timestamp <= now() ORDER BY timestamp DESC LIMIT 50',
            values: [organization],
          }),
        ),
      ),
    ]);
    const { rows: tables } = await replicas.admin.query<{ name: string; oid: number }>(
      `SELECT relname AS name, oid::bigint::float8 AS oid FROM pg_class
       WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace`,
    );
    const blocked = new Map<string, { mode: string; tables: number[] }>();
    const watch = async () => {
      while (!isOver) {
        const { rows } = await replicas.admin.query<Waiting>(WAITING_FOR_UPKEEP);
        for (const { statement, ...lock } of rows) {
          blocked.set(`${statement} for ${lock.tables.join()}`, lock); // one may wait for several in turn
        }
      }
    };
    running.push(watch());
    await until(() => done > 200);
    const before = done;
    const round = await maintenanceOf(one).run();
    // Others were served while it ran, and not only before and after.
    expect(done - before).toBeGreaterThan(24);
    const after = done;
    await until(() => done > after + 200);
    isOver = true;
    await Promise.all(running);
    expect(failures).toEqual([]);
    expect(round).toMatchObject({ postponed: [], failures: [] });
    // PostgreSQL locks all that a kept plan names before it sees that the plan is out of date: whoever was between the two
    // when a month went waits for that month's DROP. A writer waits for the statement that moves the organization's version,
    // as for any other writer's. For the table itself, or for another month, nobody waits.
    const mayBeWaitedFor = new Set([...(round?.droppedPartitions ?? []), 'audit_organization']);
    const nameOf = (table: number) => tables.find(({ oid }) => oid === table)?.name ?? `${table}`;
    const waits = [...blocked.values()].map((lock) => ({
      ...lock,
      tables: lock.tables.map(nameOf),
    }));
    const isAllowed = (names: string[]) =>
      names.length > 0 && names.every((name) => mayBeWaitedFor.has(name));
    expect(waits.filter((lock) => !isAllowed(lock.tables))).toEqual([]);
    expect(round?.droppedPartitions).toHaveLength(24);
  });
});
