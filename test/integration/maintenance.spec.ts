import type { Client } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { forgetExpired, wasRecordedBetween } from '../../src/audit/write/expired-events';
import { markExpired } from '../../src/platform/database/partition-catalog';
import { addMonths, monthOf } from '../../src/platform/database/partitions';
import type { Maintenance } from '../../src/maintenance/maintenance';
import {
  clientEvent,
  listMonths,
  newEvent,
  receiptsIn,
  type Replica,
  writeRequest,
} from './replica.fixture';
import { makeMonthly } from './monthly-partitions.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import {
  inMonth,
  oldMonth,
  record,
  RETENTION_DAYS,
  THIS_MONTH,
  maintenanceOf,
} from './maintenance.fixture';

const DAY_MS = 86_400_000;

describe('maintenance', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  let one: Replica;
  let two: Replica;
  let maintenance: Maintenance;
  let other: Maintenance;

  beforeAll(() => {
    ({ admin, one, two } = replicas);
    maintenance = maintenanceOf(one);
    other = maintenanceOf(two);
  });

  const countOf = async (organization: string) => {
    const { rows } = await admin.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM audit_event WHERE organization_id = $1',
      [organization],
    );
    return rows[0]?.count;
  };
  const tablesLike = async (month: string) => {
    const { rows } = await admin.query<{ relname: string }>(
      `SELECT relname FROM pg_class WHERE relkind = 'r' AND starts_with(relname, $1)`,
      [`audit_event_${month.replace('-', '')}`],
    );
    return rows.map(({ relname }) => relname);
  };

  it('drops exactly the months whose youngest row is past its time', async () => {
    const organization = newOrganization();
    const nowMs = Date.now();
    const edgeMs = nowMs - RETENTION_DAYS * DAY_MS;
    const edge = monthOf(new Date(edgeMs).toISOString());
    const months = Array.from({ length: 30 }, (_, index) => addMonths(edge, index - 25));
    await makeMonthly(admin, months);
    for (const month of months) {
      await record(one, {
        organizationId: organization,
        timestamp: `${month}-01T00:00:00.000000Z`,
      });
    }
    const round = await maintenance.run();
    expect(round).toMatchObject({ postponed: [], failures: [] });
    const left = await listMonths(one.partitions);
    for (const month of months) {
      const isOver = Date.parse(`${addMonths(month, 1)}-01T00:00:00Z`) <= edgeMs;
      expect([month, left.includes(month)]).toEqual([month, !isOver]);
      expect([month, (await tablesLike(month)).length]).toEqual([month, isOver ? 0 : 1]);
    }
    expect(round?.droppedPartitions).toHaveLength(25);
    expect(await countOf(organization)).toBe(5);
  });

  it('drops nothing in the first day of a process unless events of the day before confirm the clock', async () => {
    const month = oldMonth(1);
    await record(one, { organizationId: newOrganization(), timestamp: inMonth(month) });
    const cautious = maintenanceOf(two, RETENTION_DAYS, forgetExpired, wasRecordedBetween);
    const witness = (daysAgo: string) =>
      admin.query(
        `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
         SELECT 'org-witness', at, gen_random_uuid(), 1, at, 'a', 'success', 'INTERNAL'
         FROM (SELECT now() - $1::interval AS at) w`,
        [daysAgo],
      );
    await one.partitions.ensure(EVENT_TABLE, [addMonths(THIS_MONTH, -1)]);
    await witness('1 hour'); // dated by the clock in question
    const first = await cautious.run();
    expect(first?.droppedPartitions).toEqual([]);
    expect(first?.postponed).toContainEqual({
      partition: expect.any(String),
      reason: expect.stringContaining('the clock is not confirmed'),
    });
    await witness('30 hours');
    const second = await cautious.run();
    expect(second?.droppedPartitions.length).toBeGreaterThan(0);
    expect(second?.postponed).toEqual([]);
  });

  it('creates the partitions ahead, also those that an operator dropped', async () => {
    const next = addMonths(THIS_MONTH, 2);
    await maintenance.run();
    await admin.query(`DROP TABLE audit_event_${next.replace('-', '')}`);
    await maintenance.run();
    expect(await listMonths(one.partitions)).toContain(next);
  });

  it('keeps everything with a retention of 0 days', async () => {
    const organization = newOrganization();
    await record(one, { organizationId: organization, timestamp: '1971-05-05T00:00:00.000000Z' });
    await maintenanceOf(one, 0).run();
    expect(await countOf(organization)).toBe(1);
    await maintenance.run();
    expect(await countOf(organization)).toBe(0);
  });

  it('moves the versions of the organizations whose events went, and no others', async () => {
    const [gone, stays] = [newOrganization(), newOrganization()];
    await record(one, { organizationId: gone, timestamp: inMonth(oldMonth(1)) });
    await record(one, { organizationId: stays });
    const before = await Promise.all([two.versions.current([gone]), two.versions.current([stays])]);
    const allBefore = await two.versions.current('*');
    await maintenance.run();
    const after = await Promise.all([two.versions.current([gone]), two.versions.current([stays])]);
    expect(after[0]).not.toBe(before[0]);
    expect(after[1]).toBe(before[1]);
    expect(await two.versions.current('*')).not.toBe(allBefore);
  });

  it('lets sequences go on where they were', async () => {
    const organization = newOrganization();
    await record(one, { organizationId: organization, timestamp: inMonth(oldMonth(1)) });
    await record(one, { organizationId: organization, timestamp: inMonth(oldMonth(2)) });
    await maintenance.run();
    expect(await countOf(organization)).toBe(0);
    expect(await record(one, { organizationId: organization })).toMatchObject({ sequence: '3' });
  });

  it('forgets the ids that clients chose for dropped events, and only those', async () => {
    const organization = newOrganization();
    const old = Array.from({ length: 2500 }, () =>
      clientEvent({ organizationId: organization, timestamp: inMonth(oldMonth(1)) }),
    );
    const kept = clientEvent({ organizationId: organization });
    await one.writer.write(writeRequest([...old, kept]));
    await maintenance.run();
    const { rows } = await admin.query(
      'SELECT id::text FROM audit_client_event_id WHERE organization_id = $1',
      [organization],
    );
    expect(rows).toEqual([{ id: kept.id }]);
    const [again] = old;
    expect(again && receiptsIn(await one.writer.write(writeRequest([again])))[0]?.status).toBe(
      'created',
    );
  });

  it('takes months again that it has dropped, from every replica', async () => {
    const month = oldMonth(3);
    const organization = newOrganization();
    await record(one, { organizationId: organization, timestamp: inMonth(month) });
    await record(two, { organizationId: organization, timestamp: inMonth(month) });
    await maintenance.run();
    const strangers = Array.from({ length: 20 }, () => newEvent({ organizationId: organization }));
    const requests = [
      ...strangers,
      newEvent({ organizationId: organization, timestamp: inMonth(month) }),
    ];
    await Promise.all(requests.map((event) => two.writer.write(writeRequest([event]))));
    expect(await countOf(organization)).toBe(21);
    expect(await listMonths(two.partitions)).toContain(month);
  });

  describe('interrupted', () => {
    /** Hides a month and leaves it there, as a replica does that dies while it waits for a reader. */
    async function interruptDetach(month: string, isOurs: boolean): Promise<string> {
      const name = `audit_event_${month.replace('-', '')}`;
      await two.database.withClient(async (reader) => {
        await reader.query('BEGIN');
        await reader.query('SELECT count(*) FROM audit_event');
        await admin.query(`SET lock_timeout = '100ms'`);
        if (isOurs) await markExpired(admin, EVENT_TABLE, { name, upperMs: 0 });
        await expect(
          admin.query(`ALTER TABLE audit_event DETACH PARTITION ${name} CONCURRENTLY`),
        ).rejects.toMatchObject({ code: '55P03' });
        await admin.query('RESET lock_timeout');
        await reader.query('COMMIT');
      });
      return name;
    }

    it('is finished by the next round', async () => {
      const month = oldMonth(4);
      const organization = newOrganization();
      await record(one, { organizationId: organization, timestamp: inMonth(month) });
      const name = await interruptDetach(month, true);
      const round = await maintenance.run();
      expect(round?.droppedPartitions).toContain(name);
      expect(await tablesLike(month)).toEqual([]);
    });

    it('does not keep writers out of the month', async () => {
      const month = oldMonth(5);
      const organization = newOrganization();
      await record(one, { organizationId: organization, timestamp: inMonth(month) });
      const name = await interruptDetach(month, false);
      await record(one, { organizationId: organization, timestamp: inMonth(month) });
      await record(two, { organizationId: organization, timestamp: inMonth(month) });
      expect(await countOf(organization)).toBe(2);
      // The table of the first row is there, and no mark of ours says that it may go.
      expect(await tablesLike(month)).toHaveLength(2);
      await maintenance.run();
      expect(await tablesLike(month)).toEqual([name]);
      await admin.query(`DROP TABLE ${name}`);
    });

    it('between detaching and dropping leaves a table that the next round drops', async () => {
      const month = oldMonth(6);
      const organization = newOrganization();
      const name = `audit_event_${month.replace('-', '')}`;
      const event = clientEvent({ organizationId: organization, timestamp: inMonth(month) });
      await one.writer.write(writeRequest([event]));
      const dying = maintenanceOf(one, RETENTION_DAYS, () => Promise.reject(new Error('killed')));
      const failed = await dying.run();
      expect(failed?.postponed).toMatchObject([{ partition: name, reason: 'killed' }]);
      expect(await tablesLike(month)).toEqual([name]);
      // Meanwhile the month can be written into.
      await record(two, { organizationId: organization, timestamp: inMonth(month) });
      const round = await other.run();
      expect(round?.droppedPartitions).toContain(name);
      expect(await tablesLike(month)).toEqual([]);
      const { rows } = await admin.query(
        'SELECT FROM audit_client_event_id WHERE organization_id = $1',
        [organization],
      );
      expect(rows).toEqual([]);
    });

    it('by a transaction that goes on is postponed, hides the month all the same, and moves its version', async () => {
      const month = oldMonth(7);
      const organization = newOrganization();
      await record(one, { organizationId: organization, timestamp: inMonth(month) });
      const before = await two.versions.current([organization]);
      await admin.query('BEGIN');
      await admin.query('SELECT count(*) FROM audit_event');
      const round = await maintenance.run();
      expect(round?.postponed.length).toBeGreaterThan(0);
      expect(await two.versions.current([organization])).not.toBe(before);
      await admin.query('COMMIT');
      expect(await countOf(organization)).toBe(0);
      expect((await maintenance.run())?.postponed).toEqual([]);
      expect(await tablesLike(month)).toEqual([]);
    });
  });

  it('leaves a table alone that an operator detached', async () => {
    const month = oldMonth(8);
    const name = `audit_event_${month.replace('-', '')}`;
    await one.partitions.ensure(EVENT_TABLE, [month]);
    await admin.query(`ALTER TABLE audit_event DETACH PARTITION ${name}`);
    await maintenance.run();
    expect(await tablesLike(month)).toEqual([name]);
    await admin.query(`DROP TABLE ${name}`);
  });

  it('is done by one replica at a time, and by the other once that one is gone', async () => {
    await admin.query('SELECT pg_advisory_lock($1)', [0x75706b70]);
    expect(await maintenance.run()).toBeUndefined();
    await admin.query('SELECT pg_advisory_unlock_all()');
    expect(await other.run()).toBeDefined();
    expect(await maintenance.run()).toBeDefined();
  });

  it('deletes expired idempotency keys in batches, but none that a client may still repeat', async () => {
    await admin.query(
      `INSERT INTO idempotency_record (subject, key, request_hash, status, body, created_at)
       SELECT 's', 'old-' || i, ''::bytea, 201, '', now() - interval '26 hours' FROM generate_series(1, 2345) i
       UNION ALL SELECT 's', 'new-' || i, ''::bytea, 201, '', now() - interval '24 hours' FROM generate_series(1, 7) i`,
    );
    const round = await maintenance.run();
    expect(round?.expiredRows).toEqual({ idempotency_record: 2345 });
    const { rows } = await admin.query(`SELECT key FROM idempotency_record WHERE subject = 's'`);
    expect(rows).toHaveLength(7);
  });
});
