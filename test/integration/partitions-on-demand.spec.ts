import type { Client } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import type { Partition } from '../../src/platform/database/partition-catalog';
import { addMonths, monthOf, monthsAhead } from '../../src/platform/database/partitions';
import type { TestDatabase } from '../support/test-database';
import { makeMonthly, makePartition } from './monthly-partitions.fixture';
import { reportOf } from './optimizer.fixture';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

const [THIS_MONTH = ''] = monthsAhead(0);
/** The first of the months that have a partition each: January of two years ago. */
const FIRST_MONTHLY = `${Number(THIS_MONTH.slice(0, 4)) - 2}-01`;
const recent = (number: number) => addMonths(FIRST_MONTHLY, number);
const boundsOf = ({ lowerMs, upperMs }: Partition) =>
  [lowerMs, upperMs].map((ms) => ms !== null && new Date(ms).toISOString().slice(0, 10));

describe('partitions made on demand', () => {
  const replicas = useTwoReplicas();
  let test: TestDatabase;
  let admin: Client;
  let one: Replica;
  beforeAll(() => {
    ({ test, admin, one } = replicas);
  });

  const insert = (timestamp: string) =>
    admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       VALUES ('org-1', $1, gen_random_uuid(), 1, now(), 'a', 'success', 'INTERNAL')`,
      [timestamp],
    );

  describe('of a database that has some already', () => {
    const created = async (work: () => Promise<unknown>) => {
      const before = new Set((await one.partitions.find(EVENT_TABLE)).map(({ oid }) => oid));
      await work();
      const after = await one.partitions.find(EVENT_TABLE);
      return after.filter(({ oid }) => !before.has(oid));
    };
    const removeAll = async () => {
      for (const { name } of await one.partitions.find(EVENT_TABLE)) {
        await admin.query(`DROP TABLE ${name}`);
      }
      await one.partitions.refresh(EVENT_TABLE);
    };
    beforeEach(removeAll);
    afterAll(removeAll);

    it('fill the year around months of an earlier version', async () => {
      const year = Number(FIRST_MONTHLY.slice(0, 4)) - 1;
      await makeMonthly(admin, [`${year}-03`, `${year}-09`]);
      await insert(`${year}-03-31T23:59:59Z`);
      const made = await created(() =>
        one.writer.write(
          writeRequest(
            ['01', '02', '03', '05', '09', '12'].map((month) =>
              newEvent({ timestamp: `${year}-${month}-15T12:00:00.000000Z` }),
            ),
          ),
        ),
      );
      expect(made.map(boundsOf)).toEqual([
        [`${year}-01-01`, `${year}-03-01`],
        [`${year}-04-01`, `${year}-09-01`],
        [`${year}-10-01`, `${year + 1}-01-01`],
      ]);
      expect(made.map(({ name }) => name)).toEqual([
        `audit_event_${year}01_${year}02`,
        `audit_event_${year}04_${year}08`,
        `audit_event_${year}10_${year}12`,
      ]);
    });

    it('need none where all months of an earlier version are there', async () => {
      const months = Array.from({ length: 300 }, (_, index) => addMonths(THIS_MONTH, -index));
      await makeMonthly(admin, months);
      const made = await created(() => one.partitions.ensure(EVENT_TABLE, months));
      expect(made).toEqual([]);
    });

    it('fill the gaps that ranges of operators leave, to the microsecond', async () => {
      const month = recent(18);
      await makePartition(admin, 'audit_event_old', ['MINVALUE', `'${month}-10T00:00:00.000001Z'`]);
      await makePartition(admin, 'audit_event_mid', [
        `'${month}-11T00:00:00Z'`,
        `'${month}-12T00:00:00Z'`,
      ]);
      await makePartition(admin, 'audit_event_new', [`'${recent(20)}-01T00:00:00Z'`, 'MAXVALUE']);
      const made = await created(() =>
        one.partitions.ensure(EVENT_TABLE, ['0001-01', month, recent(21), '9999-12']),
      );
      expect(made).toHaveLength(2);
      for (const time of ['10T00:00:00Z', '10T00:00:00.000001Z', '12T00:00:00Z', '28T00:00:00Z']) {
        await insert(`${month}-${time}`);
      }
      await expect(insert(`${recent(19)}-01T00:00:00Z`)).rejects.toMatchObject({ code: '23514' });
    });

    it('put all that is past the retention into one, which holds nothing younger', async () => {
      const retained = await openReplica(test.url);
      retained.tables.addPartitioned({ table: EVENT_TABLE, ahead: 0, retentionDays: 2555 });
      try {
        const made = await created(() =>
          retained.partitions.ensure(EVENT_TABLE, ['0001-01', '1066-10', '1970-01', '2001-09']),
        );
        const edge = monthOf(new Date(Date.now() - 2555 * 86_400_000).toISOString());
        expect(made.map(boundsOf)).toEqual([['0001-01-01', `${edge}-01`]]);
        const kept = await created(() => retained.partitions.ensure(EVENT_TABLE, [edge]));
        const end = `${Number(edge.slice(0, 4)) + 1}-01-01`;
        expect(kept.map(boundsOf)).toEqual([[`${edge}-01`, end]]);
      } finally {
        await retained.close();
      }
    });
  });

  it('are named in the report while they keep events past the retention for others that are not', async () => {
    const year = Number(FIRST_MONTHLY.slice(0, 4)) - 3;
    await one.partitions.ensure(EVENT_TABLE, [`${year}-03`, recent(0)]);
    const notesFor = async (edge: string) => {
      const days = Math.round((Date.now() - Date.parse(edge)) / 86_400_000);
      const { partitions } = await reportOf(one, days).report();
      return partitions.recommendations.filter((note) => note.includes('RETENTION_DAYS'));
    };
    const [note, ...others] = await notesFor(`${year}-06-15`);
    expect(others).toEqual([]);
    expect(note).toMatch(
      new RegExp(
        `^audit_event_${year}01_${year}12 holds .* dropped once all are, on \\d{4}-\\d\\d-\\d\\d`,
      ),
    );
    expect(await notesFor(`${recent(0)}-15`)).toEqual([]);
  });

  describe('that are waited for', () => {
    const LOCK = 0x70617274;
    /** As another replica does that is making one. */
    const hold = () => admin.query('SELECT pg_advisory_lock($1)', [LOCK]);
    const release = () => admin.query('SELECT pg_advisory_unlock_all()');
    const isWaitedFor = async () => {
      const { rows } = await admin.query(
        `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        [LOCK],
      );
      return rows.length > 0;
    };
    const deep = (from: number) =>
      Array.from({ length: 12 }, (_, index) => `${from + index * 10}-06`);
    afterEach(release);

    it('are cancelled in PostgreSQL with their request, and no further one is begun', async () => {
      const made = async () => (await one.partitions.find(EVENT_TABLE)).length;
      const before = await made();
      await hold();
      const leaving = new AbortController();
      const reason = new Error('nobody waits');
      const events = deep(1850).map((month) =>
        newEvent({ timestamp: `${month}-15T12:00:00.000000Z` }),
      );
      const writing = one.writer.write(writeRequest(events, { signal: leaving.signal }));
      const refused = expect(writing).rejects.toBe(reason);
      await until(isWaitedFor);
      leaving.abort(reason);
      await refused;
      await until(async () => !(await isWaitedFor()));
      await release();
      await one.partitions.ensure(EVENT_TABLE, [recent(22)]);
      expect(await made()).toBe(before + 1);
    });

    it('are left at once by requests that still wait', async () => {
      await hold();
      const first = one.partitions.ensure(EVENT_TABLE, [recent(23)]);
      await until(isWaitedFor);
      const reason = new Error('nobody waits');
      const second = one.partitions.ensure(EVENT_TABLE, ['1700-01'], AbortSignal.abort(reason));
      await expect(second).rejects.toBe(reason);
      const leaving = new AbortController();
      const third = one.partitions.ensure(EVENT_TABLE, ['1700-01'], leaving.signal);
      leaving.abort(reason);
      await expect(third).rejects.toBe(reason);
      await release();
      await first;
    });
  });
});
