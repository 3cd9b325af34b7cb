import type { Replica } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { addMonths } from '../../src/database/partitions';
import { until } from './until.fixture';
import { inMonth, oldMonth, record, THIS_MONTH, upkeepOf } from './upkeep.fixture';

/** A statement that waits for a lock which the upkeep holds or wants. */
interface Waiting {
  statement: string;
  mode: string;
  relation: string;
}

describe('the upkeep under load', () => {
  const replicas = useTwoReplicas();
  let one: Replica;
  let two: Replica;
  beforeAll(() => {
    ({ one, two } = replicas);
  });

  it('lets readers and writers go on while it drops months', async () => {
    const organization = newOrganization();
    for (let month = 0; month < 24; month += 1) {
      await record(one, { organizationId: organization, timestamp: inMonth(oldMonth(10 + month)) });
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
    const blocked = new Map<string, { mode: string; relation: string }>();
    const watch = async () => {
      while (!isOver) {
        const { rows } = await replicas.admin.query<Waiting>(
          `SELECT a.pid || ' at ' || a.query_start AS statement, l.mode,
             coalesce(l.relation::regclass::text, l.locktype) AS relation
           FROM pg_stat_activity u JOIN pg_stat_activity a ON u.pid = ANY (pg_blocking_pids(a.pid))
           JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
           WHERE u.application_name LIKE '%upkeep' AND u.datname = current_database()`,
        );
        for (const { statement, ...lock } of rows) {
          blocked.set(`${statement} for ${lock.relation}`, lock); // one may wait for several in turn
        }
      }
    };
    running.push(watch());
    await until(() => done > 200);
    const before = done;
    const round = await upkeepOf(one).run();
    // Others were served while it ran, and not only before and after.
    expect(done - before).toBeGreaterThan(24);
    const after = done;
    await until(() => done > after + 200);
    isOver = true;
    await Promise.all(running);
    expect(failures).toEqual([]);
    expect(round).toMatchObject({ postponed: [], failures: [] });
    // PostgreSQL locks all that a kept plan names before it sees that the plan is out of date: whoever was between the two
    // when a month went waits for that month's DROP. For the table itself, or for another month, nobody waits.
    const dropped = new Set(round?.droppedPartitions);
    const waits = [...blocked.values()];
    expect(waits.filter(({ relation }) => !dropped.has(relation))).toEqual([]);
    expect(round?.droppedPartitions).toHaveLength(24);
  });
});
