import type { Client } from 'pg';
import { EVENT_TABLE } from '../../src/audit/audit-event';
import { addMonths, monthOf } from '../../src/database/partitions';
import type { TestDatabase } from '../support/test-database';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

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
  ): Promise<{ reached: Promise<void>; goOn: () => void }> {
    let goOn = (): void => undefined;
    const allowed = new Promise<void>((resolve) => (goOn = resolve));
    let reach = (): void => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    await replica.database.withClient((client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
      const stopping = async (...args: unknown[]): Promise<unknown> => {
        if (args[0] === 'COMMIT') {
          reach();
          await allowed;
        }
        return query(...args);
      };
      Object.assign(client, { query: stopping });
      return Promise.resolve();
    });
    return { reached, goOn };
  }

  it('are made for any month from 1970 on, by several replicas at once', async () => {
    const months = Array.from({ length: 24 }, (_, index) => addMonths('1970-01', index * 29));
    await Promise.all(
      [one, two, one, two].map(({ partitions }, index) =>
        partitions.ensure(EVENT_TABLE, index % 2 ? [...months].reverse() : months),
      ),
    );
    expect(await one.partitions.list(EVENT_TABLE)).toEqual(expect.arrayContaining(months));
    await insert('1970-01-01T00:00:00Z');
    for (const month of months) {
      await insert(`${month}-01T00:00:00Z`);
      await insert(`${addMonths(month, 1)}-01T00:00:00Z`).then(
        () => Promise.reject(new Error(`${month} reaches into the next month`)),
        (error: { code?: string }) => expect(error.code).toBe('23514'),
      );
    }
  });

  it('hold the last microsecond of their month, whatever the time zone of the server', async () => {
    await one.partitions.ensure(EVENT_TABLE, ['2020-02']);
    await insert('2020-02-29T23:59:59.999999Z');
    await expect(insert('2020-03-01T00:00:00Z')).rejects.toMatchObject({ code: '23514' });
    const { rows } = await admin.query(
      `SELECT 1 FROM audit_event_202002 WHERE timestamp = '2020-02-29T23:59:59.999999Z'`,
    );
    expect(rows).toHaveLength(1);
  });

  it('have the indexes and the key of the table', async () => {
    await one.partitions.ensure(EVENT_TABLE, ['2021-01']);
    const { rows } = await admin.query(
      `SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhparent
       WHERE x.indrelid = 'audit_event'::regclass AND i.inhrelid IN
         (SELECT indexrelid FROM pg_index WHERE indrelid = 'audit_event_202101'::regclass)`,
    );
    expect(rows).toHaveLength(3);
  });

  it('are made while others write and lock rows, without waiting for them', async () => {
    await one.partitions.ensure(EVENT_TABLE, ['2022-01']);
    await admin.query('BEGIN');
    await insert('2022-01-05T00:00:00Z');
    await admin.query('SELECT FROM audit_event WHERE organization_id = $1 FOR UPDATE', ['org-1']);
    const impatient = await openReplica(test.url, { poolMax: 1 });
    try {
      await impatient.database.withClient((client) => client.query(`SET lock_timeout = '200ms'`));
      await impatient.partitions.ensure(EVENT_TABLE, ['2022-02']);
    } finally {
      await admin.query('COMMIT');
      await impatient.close();
    }
    expect(await one.partitions.list(EVENT_TABLE)).toContain('2022-02');
  });

  it('let readers and writers go on while one is being made', async () => {
    await one.partitions.ensure(EVENT_TABLE, ['2023-01']);
    const maker = await openReplica(test.url, { poolMax: 1 });
    const atCommit = await stopAtCommit(maker);
    const making = maker.partitions.ensure(EVENT_TABLE, ['2023-02']);
    try {
      await atCommit.reached;
      await admin.query(`SET lock_timeout = '200ms'`);
      await insert('2023-01-05T00:00:00Z');
      const { rows } = await admin.query(
        `SELECT FROM audit_event WHERE timestamp >= '2023-01-01' AND timestamp < '2023-02-01'`,
      );
      expect(rows).toHaveLength(1);
      expect(await one.partitions.list(EVENT_TABLE)).not.toContain('2023-02');
    } finally {
      await admin.query('RESET lock_timeout');
      atCommit.goOn();
      await making;
      await maker.close();
    }
    expect(await one.partitions.list(EVENT_TABLE)).toContain('2023-02');
  });

  it('are known after the first time: nothing is asked of the database', async () => {
    await one.partitions.ensure(EVENT_TABLE, ['2024-01']);
    const held: (() => void)[] = [];
    const holders = Array.from({ length: 4 }, () =>
      one.database.withClient(() => new Promise<void>((resolve) => held.push(resolve))),
    );
    await until(() => held.length === 4);
    await one.partitions.ensure(EVENT_TABLE, ['2024-01', '2024-01']);
    held.forEach((release) => release());
    await Promise.all(holders);
  });

  it('are made ahead of time', async () => {
    await one.partitions.ensureAhead(EVENT_TABLE, 3, new Date('2031-11-30T23:59:59Z'));
    const months = await one.partitions.list(EVENT_TABLE);
    expect(months).toEqual(expect.arrayContaining(['2031-11', '2031-12', '2032-01', '2032-02']));
    expect(months).not.toContain('2032-03');
  });

  it('appear when events of their month come, at several replicas at once', async () => {
    const month = '1983-07';
    const request = () => writeRequest([newEvent({ timestamp: `${month}-15T12:00:00.000000Z` })]);
    await Promise.all([one, two, one, two].map(({ writer }) => writer.record(request())));
    expect(monthOf(`${month}-15T12:00:00.000000Z`)).toBe(month);
    expect(await two.partitions.list(EVENT_TABLE)).toContain(month);
  });

  it('refuse what is not a month rather than put it into a statement', async () => {
    await expect(one.partitions.ensure(EVENT_TABLE, [`2020-01'; DROP`])).rejects.toThrow();
  });
});
