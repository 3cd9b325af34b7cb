import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import type { WriteRequest } from '../../src/audit/write/batch-committer';
import { addMonths } from '../../src/platform/database/partitions';
import type { TestDatabase } from '../support/test-database';
import {
  headOf,
  lockHead,
  oneTo,
  sequencesOf,
  waitingForHeads,
  whileOccupied,
} from './heads.fixture';
import {
  clientEvent,
  newEvent,
  openReplica,
  receiptsIn,
  type Replica,
  writeRequest,
} from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

describe('the audit writer', () => {
  const replicas = useTwoReplicas();
  let test: TestDatabase;
  let admin: Client;
  let one: Replica;
  let two: Replica;
  beforeAll(() => {
    ({ test, admin, one, two } = replicas);
  });

  let organizationId = '';
  beforeEach(() => {
    organizationId = newOrganization();
  });

  it('numbers the events of a request in the order in which they came', async () => {
    const events = Array.from({ length: 250 }, () => newEvent({ organizationId }));
    const receipts = receiptsIn(
      await one.writer.write(writeRequest(events, { batchSize: 100, pathOf: String })),
    );
    expect(receipts.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    expect(receipts.map(({ sequence }) => Number(sequence))).toEqual(oneTo(250));
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(250));
  });

  it('acknowledges the very text that is stored', async () => {
    const event = newEvent({
      organizationId,
      principalId: 'Ünï "q" \\ \t\r\n \u2028 😀',
      metadata: '{"a":9223372036854775807,"b":1.00,"c":[1e400,{"d":"\\u2028"}]}',
      sessionContext: '{"ipAddress":"AWS Internal"}',
    });
    const [receipt] = receiptsIn(await one.writer.write(writeRequest([event])));
    expect(await one.queries.findById([organizationId], event.id)).toBe(receipt?.text);
  });

  it('puts requests that wait into one transaction, and each gets its own result', async () => {
    await whileOccupied(admin, one, async () => {
      const recorded = await Promise.all(
        Array.from({ length: 20 }, () =>
          one.writer.write(writeRequest([newEvent({ organizationId })])),
        ),
      );
      expect(recorded.map((answer) => receiptsIn(answer)[0]?.sequence)).toEqual(
        oneTo(20).map(String),
      );
    });
    const { rows } = await admin.query(
      'SELECT DISTINCT xmin::text FROM audit_event WHERE organization_id = $1',
      [organizationId],
    );
    expect(rows).toHaveLength(1);
  });

  const poisons: [string, () => Partial<WriteRequest>][] = [
    [
      'PostgreSQL refuses a value of',
      () => ({ events: [newEvent({ organizationId, metadata: '{"a":' })] }),
    ],
    [
      'has a key too long for its index',
      () => ({ events: [newEvent({ organizationId: randomBytes(5000).toString('hex') })] }),
    ],
    ['has a NUL', () => ({ events: [newEvent({ organizationId, action: 'a\0b' })] })],
    [
      'cannot be answered',
      () => ({
        claim: {
          subject: 'alice',
          scope: Buffer.alloc(1),
          key: organizationId,
          requestHash: Buffer.alloc(32),
        },
        textOf: () => {
          throw new Error('no answer');
        },
      }),
    ],
  ];

  it.each(poisons)('fails alone the request that %s', async (_, poison) => {
    const good = (): WriteRequest => writeRequest([newEvent({ organizationId })]);
    await whileOccupied(admin, one, async () => {
      const results = await Promise.allSettled([
        one.writer.write(good()),
        one.writer.write({ ...good(), batchSize: 1 }),
        one.writer.write({ ...good(), ...poison() }),
        one.writer.write(good()),
      ]);
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ]);
      expect(results[2]).toMatchObject({ reason: { code: 'INTERNAL' } });
    });
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(3));
    expect(await headOf(admin, organizationId)).toBe(3);
  });

  it('never deadlocks between replicas over the same organizations, with ids of clients or without', async () => {
    const names = ['a', 'b'].map((letter) => `${letter}-${organizationId}`);
    await one.writer.write(writeRequest(names.map((name) => newEvent({ organizationId: name }))));
    const deadlocks = async () => {
      await admin.query('SELECT pg_stat_clear_snapshot()');
      const { rows } = await admin.query<{ deadlocks: string }>(
        'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
      );
      return Number(rows[0]?.deadlocks);
    };
    const before = await deadlocks();
    const [first = '', second = ''] = names;
    const lock = await lockHead(admin, first);
    const plain = one.writer.write(
      writeRequest([first, second].map((name) => newEvent({ organizationId: name }))),
    );
    await until(async () => (await waitingForHeads(admin)) === 1);
    // Ids of clients are looked up under the lock of their organizations: here of the second one.
    const mixed = two.writer.write(
      writeRequest([
        clientEvent({ organizationId: second }),
        newEvent({ organizationId: first }),
        newEvent({ organizationId: second }),
      ]),
    );
    await until(async () => (await waitingForHeads(admin)) === 2);
    await lock.release();
    await Promise.all([plain, mixed]);
    expect(await sequencesOf(admin, first)).toEqual(oneTo(2 + 1));
    expect(await sequencesOf(admin, second)).toEqual(oneTo(3 + 1));
    // Backends report their statistics when they are idle, at the latest when they end.
    await one.close();
    await two.close();
    one = await openReplica(test.url);
    two = await openReplica(test.url);
    Object.assign(replicas, { one, two });
    expect((await deadlocks()) - before).toBe(0);
  });

  it('keeps no stranger waiting for an organization that a large transaction has locked', async () => {
    const large = Array.from({ length: 101 }, () => newEvent({ organizationId }));
    const neighbour = newEvent({ organizationId });
    const stranger = newEvent({ organizationId: `stranger-${organizationId}` });
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    const lock = await lockHead(admin, organizationId);
    const writing = [one.writer.write(writeRequest(large))];
    try {
      await until(async () => (await waitingForHeads(admin)) === 1);
      writing.push(one.writer.write(writeRequest([neighbour])));
      let isCommitted = false;
      writing.push(
        one.writer.write(writeRequest([stranger])).finally(() => {
          isCommitted = true;
        }),
      );
      await until(async () => isCommitted || (await waitingForHeads(admin)) > 1);
      expect(isCommitted).toBe(true);
      expect(one.writer.statistics()).toMatchObject({ waitingRequests: 1 });
    } finally {
      await lock.release();
    }
    const [, last] = (await Promise.all(writing)).map(receiptsIn);
    expect(last).toMatchObject([{ sequence: '103' }]);
  });

  it('fails a whole group at once when the database goes away under it', async () => {
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    const lock = await lockHead(admin, organizationId);
    const record = () => one.writer.write(writeRequest([newEvent({ organizationId })]));
    const first = record();
    const others = Promise.allSettled([record(), record(), record()]);
    try {
      await endWaiting();
      await expect(first).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      await endWaiting();
    } finally {
      await lock.release(); // from here on a second attempt would succeed
    }
    const reason = expect.objectContaining({ code: 'DATABASE_UNAVAILABLE' }) as unknown;
    expect(await others).toEqual([1, 2, 3].map(() => ({ status: 'rejected', reason })));
    expect(await sequencesOf(admin, organizationId)).toEqual([1]);
    expect((await record()).replayed).toBe(false);
    expect(await headOf(admin, organizationId)).toBe(2);
  });

  /** Ends the one backend that waits for a row, and resolves when it is gone. */
  async function endWaiting(): Promise<void> {
    await until(async () => (await waitingForHeads(admin)) === 1);
    await admin.query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
       WHERE NOT granted AND locktype IN ('transactionid', 'tuple')`,
    );
  }

  it('lets other organizations go on while one stays locked, and refuses writes that wait for it', async () => {
    const stranger = newOrganization();
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    const lock = await lockHead(admin, organizationId);
    try {
      const stuck = Array.from({ length: 5 }, () =>
        one.writer.write(writeRequest([newEvent({ organizationId })])),
      );
      const settled = Promise.allSettled(stuck);
      const recorded = await Promise.all(
        Array.from({ length: 5 }, () =>
          one.writer.write(writeRequest([newEvent({ organizationId: stranger })])),
        ),
      );
      expect(recorded).toHaveLength(5); // while the lock is still held
      const reason = expect.objectContaining({ code: 'DATABASE_UNAVAILABLE' }) as unknown;
      expect(await settled).toEqual(stuck.map(() => ({ status: 'rejected', reason })));
    } finally {
      await lock.release();
    }
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    expect(await sequencesOf(admin, organizationId)).toEqual([1, 2]);
  });

  it('makes the partition again that was dropped behind its back', async () => {
    const timestamp = '1999-05-01T00:00:00.000000Z';
    await one.writer.write(writeRequest([newEvent({ organizationId, timestamp })]));
    const { rows } = await admin.query<{ partition: string }>(
      'SELECT tableoid::regclass::text AS partition FROM audit_event WHERE organization_id = $1',
      [organizationId],
    );
    await admin.query(`DROP TABLE ${rows[0]?.partition}`);
    const event = newEvent({ organizationId, timestamp });
    const [receipt] = receiptsIn(await one.writer.write(writeRequest([event])));
    expect(receipt).toMatchObject({ id: event.id, sequence: '2', status: 'created' });
  });

  it('writes events of many months and years in one request', async () => {
    const months = Array.from({ length: 40 }, (_, index) => addMonths('1970-01', index * 17));
    const events = months.map((month) =>
      newEvent({ organizationId, timestamp: `${month}-01T00:00:00.000000Z` }),
    );
    await one.writer.write(writeRequest(events));
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(40));
  });

  it('sheds requests when too many events wait', async () => {
    const events = Array.from({ length: 200_001 }, () => newEvent({ organizationId }));
    await expect(one.writer.write(writeRequest(events))).rejects.toMatchObject({
      code: 'TOO_MANY_REQUESTS',
    });
  });

  it('waits at shutdown until everything is written', async () => {
    const writing = Array.from({ length: 30 }, () =>
      one.writer.write(writeRequest([newEvent({ organizationId })])),
    );
    await one.writer.beforeApplicationShutdown();
    expect(one.writer.statistics()).toEqual({
      waitingRequests: 0,
      waitingEvents: 0,
      runningTransactions: 0,
    });
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(30));
    await Promise.all(writing);
  });
});
