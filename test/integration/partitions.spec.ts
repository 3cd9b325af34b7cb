import type { Client, PoolClient } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { poolOf } from '../../src/platform/database/data-source';
import { addMonths, missingMonths, monthsAhead } from '../../src/platform/database/partitions';
import { isOutcomeUnknown } from '../../src/platform/database/commit-outcome';
import type { TestDatabase } from '../support/test-database';
import { listMonths, newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

const [THIS_MONTH = ''] = monthsAhead(0);
/** The first of the months that have a partition each: January of two years ago. 23 more follow for certain. */
const FIRST_MONTHLY = `${Number(THIS_MONTH.slice(0, 4)) - 2}-01`;
const recent = (number: number) => addMonths(FIRST_MONTHLY, number);
const tableOf = (month: string) => `audit_event_${month.replace('-', '')}`;

describe('partitions', () => {
  const replicas = useTwoReplicas();
  let test: TestDatabase;
  let admin: Client;
  let one: Replica;
  let two: Replica;
  beforeAll(() => {
    ({ test, admin, one, two } = replicas);
  });

  const insert = (timestamp: string) =>
    admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       VALUES ('org-1', $1, gen_random_uuid(), 1, now(), 'a', 'success', 'INTERNAL')`,
      [timestamp],
    );

  /** Makes the only connection of a replica wait before it commits. */
  async function stopAtCommit(
    replica: Replica,
  ): Promise<{ reached: Promise<void>; proceed: () => void }> {
    let proceed = (): void => undefined;
    const allowed = new Promise<void>((resolve) => (proceed = resolve));
    let reach = (): void => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    await replica.database.withClient((client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
      const stopping = async (...args: unknown[]): Promise<unknown> => {
        if ((args[0] as { text?: string }).text === 'COMMIT') {
          reach();
          await allowed;
        }
        return query(...args);
      };
      Object.assign(client, { query: stopping });
      return Promise.resolve();
    });
    return { reached, proceed };
  }

  it('are made for any month there is, by several replicas at once, and are some dozens', async () => {
    const months = Array.from({ length: 200 }, (_, index) => addMonths('0001-01', index * 123));
    const past = months.filter((month) => month < THIS_MONTH);
    await Promise.all(
      [one, two, one, two].map(({ partitions }, index) =>
        partitions.ensure(EVENT_TABLE, index % 2 ? [...past].reverse() : past),
      ),
    );
    const found = await one.partitions.find(EVENT_TABLE);
    expect(missingMonths(found, past)).toEqual([]);
    expect(found.length).toBeLessThanOrEqual(56);
    for (const month of past) await insert(`${month}-01T00:00:00Z`);
    await insert('0001-01-01T00:00:00Z');
  });

  it('hold the last microsecond of their month, whatever the time zone of the server', async () => {
    const month = recent(1);
    await one.partitions.ensure(EVENT_TABLE, [month]);
    const endMs = Date.parse(`${recent(2)}-01T00:00:00Z`);
    const last = `${new Date(endMs - 1).toISOString().slice(0, -1)}999Z`;
    await insert(last);
    await expect(insert(new Date(endMs).toISOString())).rejects.toMatchObject({ code: '23514' });
    const { rows } = await admin.query(`SELECT FROM ${tableOf(month)} WHERE timestamp = $1`, [
      last,
    ]);
    expect(rows).toHaveLength(1);
  });

  it('have the indexes and the key of the table', async () => {
    await one.partitions.ensure(EVENT_TABLE, [recent(4)]);
    const { rows } = await admin.query(
      `SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhparent
       WHERE x.indrelid = 'audit_event'::regclass AND i.inhrelid IN
         (SELECT indexrelid FROM pg_index WHERE indrelid = $1::regclass)`,
      [tableOf(recent(4))],
    );
    expect(rows).toHaveLength(3);
  });

  it('are made while others write and lock rows, without waiting for them', async () => {
    await one.partitions.ensure(EVENT_TABLE, [recent(6)]);
    await admin.query('BEGIN');
    await insert(`${recent(6)}-05T00:00:00Z`);
    await admin.query('SELECT FROM audit_event WHERE organization_id = $1 FOR UPDATE', ['org-1']);
    const impatient = await openReplica(test.url, { poolMax: 1 });
    try {
      await impatient.database.withClient((client) => client.query(`SET lock_timeout = '200ms'`));
      await impatient.partitions.ensure(EVENT_TABLE, [recent(8)]);
    } finally {
      await admin.query('COMMIT');
      await impatient.close();
    }
    expect(await listMonths(one.partitions)).toContain(recent(8));
  });

  it('let readers and writers go on while one is being made', async () => {
    await one.partitions.ensure(EVENT_TABLE, [recent(10)]);
    const maker = await openReplica(test.url, { poolMax: 1 });
    const atCommit = await stopAtCommit(maker);
    const making = maker.partitions.ensure(EVENT_TABLE, [recent(12)]);
    try {
      await atCommit.reached;
      await admin.query(`SET lock_timeout = '200ms'`);
      await insert(`${recent(10)}-05T00:00:00Z`);
      const { rows } = await admin.query(
        `SELECT FROM audit_event WHERE timestamp >= $1 AND timestamp < $2`,
        [`${recent(10)}-01`, `${recent(11)}-01`],
      );
      expect(rows).toHaveLength(1);
      expect(await listMonths(one.partitions)).not.toContain(recent(12));
    } finally {
      await admin.query('RESET lock_timeout');
      atCommit.proceed();
      await making;
      await maker.close();
    }
    expect(await listMonths(one.partitions)).toContain(recent(12));
  });

  it.each([1, 2])(
    'are not part of the outcome of a write: %p connections are lost when one is committed',
    async (losses) => {
      const writer = await openReplica(test.url, { poolMax: 1 });
      let left = losses;
      const loseCommits = (client: PoolClient): void => {
        const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
        const losing = (...args: unknown[]): Promise<unknown> => {
          const isCommit = (args[0] as { text?: string }).text === 'COMMIT';
          if (!isCommit || left === 0) return query(...args);
          left -= 1;
          return query('SELECT pg_terminate_backend(pg_backend_pid())');
        };
        Object.assign(client, { query: losing });
      };
      // The connection that there is, and those that replace it.
      await writer.database.withClient((client) => Promise.resolve(loseCommits(client)));
      poolOf(writer.dataSource).on('connect', loseCommits);
      try {
        const timestamp = `${addMonths(THIS_MONTH, 30 + losses)}-15T12:00:00.000000Z`;
        const written: unknown = await writer.writer
          .write(writeRequest([newEvent({ timestamp })]))
          .catch((error: unknown) => error);
        expect(left).toBe(0);
        if (losses === 1) expect(written).toMatchObject({ replayed: false });
        else expect(written).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
        expect(isOutcomeUnknown(written)).toBe(false);
        const { unknown, tenants } = writer.database.unconfirmedCommits.statistics();
        expect(tenants).toBe(0);
        expect(unknown).toEqual({ connection_lost: 0, wait_interrupted: 0, deadline: 0 });
      } finally {
        await writer.close();
      }
    },
  );

  it('are known after the first time: nothing is asked of the database', async () => {
    await one.partitions.ensure(EVENT_TABLE, [recent(14)]);
    const held: (() => void)[] = [];
    const holders = Array.from({ length: 4 }, () =>
      one.database.withClient(() => new Promise<void>((resolve) => held.push(resolve))),
    );
    await until(() => held.length === 4);
    await one.partitions.ensure(EVENT_TABLE, [recent(14), recent(14)]);
    held.forEach((release) => release());
    await Promise.all(holders);
  });

  it('are made ahead of time', async () => {
    await one.partitions.ensure(EVENT_TABLE, monthsAhead(3, new Date('2031-11-30T23:59:59Z')));
    const months = await listMonths(one.partitions);
    expect(months).toEqual(expect.arrayContaining(['2031-11', '2031-12', '2032-01', '2032-02']));
    expect(months).not.toContain('2032-03');
  });

  it('appear when events of their month come, at several replicas at once', async () => {
    const month = recent(16);
    const request = () => writeRequest([newEvent({ timestamp: `${month}-15T12:00:00.000000Z` })]);
    await Promise.all([one, two, one, two].map(({ writer }) => writer.write(request())));
    expect(await listMonths(two.partitions)).toContain(month);
  });

  it('refuse a malformed month rather than put it into a statement', async () => {
    await expect(
      one.partitions.ensure(EVENT_TABLE, [`${THIS_MONTH.slice(0, 2)}99-01'; DROP`]),
    ).rejects.toThrow();
  });
});
