import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { monthOf } from '../../src/platform/database/partitions';
import { optimizerOf } from './optimizer.fixture';
import { newEvent, type Replica, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

const ROUNDS = 10;

describe('an optimization that is not alone', () => {
  const replicas = useTwoReplicas();

  beforeAll(() => replicas.one.partitions.ensure(EVENT_TABLE, [monthOf(new Date().toISOString())]));

  it('does the rest when a table is locked, and names the one that it could not examine', async () => {
    const { admin, one } = replicas;
    await admin.query('CREATE TABLE locked (id int PRIMARY KEY)');
    await admin.query('CREATE TABLE free (id int PRIMARY KEY) WITH (autovacuum_enabled = off)');
    await admin.query('INSERT INTO free SELECT generate_series(1, 5000)');
    await admin.query('DELETE FROM free WHERE id % 2 = 0; SELECT pg_stat_force_next_flush()');
    const countDead = () =>
      admin.query<{ dead: number }>(
        `SELECT n_dead_tup::int AS dead FROM pg_stat_user_tables WHERE relname = 'free'`,
      );
    await until(async () => ((await countDead()).rows[0]?.dead ?? 0) === 2500);
    await admin.query('BEGIN; LOCK TABLE locked, audit_event IN ACCESS EXCLUSIVE MODE');
    const result = await optimizerOf(one).optimize();
    await admin.query('ROLLBACK');
    expect(result.partitionOptimization).toEqual([
      expect.objectContaining({ table: EVENT_TABLE, action: 'skipped' }),
    ]);
    expect(result.maintenanceResults.vacuumResults).toContainEqual(
      expect.objectContaining({ table: 'free', action: 'done' }),
    );
    expect(result.indexOptimization).toContainEqual(
      expect.objectContaining({ index: '(all)', action: 'skipped' }),
    );
    await admin.query('DROP TABLE locked, free');
  });

  it('is done by one of two replicas that are asked at once, again and again, while both write', async () => {
    const { one, two } = replicas;
    const organization = newOrganization();
    let isOver = false;
    let written = 0;
    const write = async (replica: Replica) => {
      while (!isOver) {
        await replica.writer.write(writeRequest([newEvent({ organizationId: organization })]));
        written += 1;
      }
    };
    const writing = Promise.all([write(one), write(two)]);
    const optimizers = [optimizerOf(one), optimizerOf(two)];
    for (let round = 0; round < ROUNDS; round += 1) {
      const before = written;
      const ends = await Promise.allSettled(optimizers.map((optimizer) => optimizer.optimize()));
      expect(ends.map(({ status }) => status)).toContain('fulfilled');
      for (const end of ends) {
        if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'CONFLICT' });
      }
      await until(() => written > before);
    }
    isOver = true;
    await writing;
  });
});
