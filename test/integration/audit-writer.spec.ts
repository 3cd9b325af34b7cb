import { createHash, randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { storedKey } from '../../src/audit/stored-events';
import type { WriteRequest } from '../../src/audit/write-group';
import type { IdempotencyClaim } from '../../src/concurrency/idempotency-keys';
import { addMonths } from '../../src/database/partitions';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import {
  clientEvent,
  newEvent,
  openReplica,
  receiptsIn,
  type Replica,
  writeRequest,
} from './replica.fixture';
import { until } from './until.fixture';

function claim(key: string, body = key): IdempotencyClaim {
  return { subject: 'alice', key, requestHash: createHash('sha256').update(body).digest() };
}

describe('the audit writer', () => {
  let test: TestDatabase;
  let admin: Client;
  let one: Replica;
  let two: Replica;

  beforeAll(async () => {
    test = await createTestDatabase();
    admin = new Client({ connectionString: test.url });
    await admin.connect();
    one = await openReplica(test.url);
    two = await openReplica(test.url);
  });

  afterAll(async () => {
    await one?.close();
    await two?.close();
    await admin?.end();
    await test?.drop();
  });

  let organizationId = '';
  beforeEach(() => {
    organizationId = `org-${randomBytes(4).toString('hex')}`;
  });

  async function sequencesOf(organization: string): Promise<number[]> {
    const { rows } = await admin.query<{ sequence: string }>(
      'SELECT sequence FROM audit_event WHERE organization_id = $1 ORDER BY sequence',
      [organization],
    );
    return rows.map(({ sequence }) => Number(sequence));
  }

  async function headOf(organization: string): Promise<number> {
    const { rows } = await admin.query<{ last_sequence: string }>(
      'SELECT last_sequence FROM audit_organization WHERE organization_id = $1',
      [organization],
    );
    return Number(rows[0]?.last_sequence ?? 0);
  }

  /** Holds the head row of an organization until released. */
  async function lockHead(organization: string): Promise<{ release: () => Promise<unknown> }> {
    await admin.query('BEGIN');
    await admin.query('SELECT FROM audit_organization WHERE organization_id = $1 FOR UPDATE', [
      organization,
    ]);
    return { release: () => admin.query('COMMIT') };
  }

  /** How many connections to this database wait for a row. */
  async function waitingForHeads(): Promise<number> {
    const { rows } = await admin.query<{ pid: number }>(
      `SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE NOT l.granted AND l.locktype IN ('transactionid', 'tuple')
         AND a.datname = current_database()`,
    );
    return rows.length;
  }

  const oneTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

  /** Occupies the writer of `replica` with a group that waits for a lock, so that what follows shares the next one. */
  async function occupied(replica: Replica, work: () => Promise<unknown>): Promise<void> {
    const gate = `gate-${randomBytes(4).toString('hex')}`;
    await replica.writer.record(writeRequest([newEvent({ organizationId: gate })]));
    const lock = await lockHead(gate);
    const blocked = replica.writer.record(writeRequest([newEvent({ organizationId: gate })]));
    const working = work();
    await lock.release();
    await Promise.all([blocked, working]);
  }

  it('numbers the events of a request in the order in which they came', async () => {
    const events = Array.from({ length: 250 }, () => newEvent({ organizationId }));
    const receipts = receiptsIn(
      await one.writer.record(writeRequest(events, { batchSize: 100, pathOf: String })),
    );
    expect(receipts.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    expect(receipts.map(({ sequence }) => Number(sequence))).toEqual(oneTo(250));
    expect(await sequencesOf(organizationId)).toEqual(oneTo(250));
  });

  it('acknowledges the very text that is stored', async () => {
    const event = newEvent({
      organizationId,
      principalId: 'Ünï "q" \\ \t\r\n \u2028 😀',
      metadata: '{"a":9223372036854775807,"b":1.00,"c":[1e400,{"d":"\\u2028"}]}',
      sessionContext: '{"ipAddress":"AWS Internal"}',
    });
    const [receipt] = receiptsIn(await one.writer.record(writeRequest([event])));
    expect(await one.queries.findById([organizationId], event.id)).toBe(receipt?.text);
  });

  it('puts requests that wait into one transaction, and each gets its own answer', async () => {
    await occupied(one, async () => {
      const recorded = await Promise.all(
        Array.from({ length: 20 }, () =>
          one.writer.record(writeRequest([newEvent({ organizationId })])),
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
        answer: () => {
          throw new Error('no answer');
        },
      }),
    ],
  ];

  it.each(poisons)('fails alone the request that %s', async (_, poison) => {
    const good = (): WriteRequest => writeRequest([newEvent({ organizationId })]);
    await occupied(one, async () => {
      const results = await Promise.allSettled([
        one.writer.record(good()),
        one.writer.record({ ...good(), claim: claim(`${organizationId}-1`) }),
        one.writer.record({ ...good(), ...poison() }),
        one.writer.record(good()),
      ]);
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ]);
      expect(results[2]).toMatchObject({ reason: { code: 'INTERNAL' } });
    });
    expect(await sequencesOf(organizationId)).toEqual(oneTo(3));
    expect(await headOf(organizationId)).toBe(3);
  });

  describe('with ids that clients chose', () => {
    it('takes the same content for a duplicate and other content for a conflict', async () => {
      const event = clientEvent({ organizationId, metadata: '{"a":1,"b":[2.50]}' });
      await one.writer.record(writeRequest([event]));
      const again = { ...event, metadata: '{"b":[25e-1],"a":1.0}' };
      const [receipt] = receiptsIn(await two.writer.record(writeRequest([again])));
      expect(receipt).toMatchObject({ id: event.id, sequence: '1', status: 'duplicate' });
      const other = writeRequest([newEvent({ organizationId }), { ...event, action: 'other' }]);
      await expect(two.writer.record(other)).rejects.toMatchObject({
        code: 'CONFLICT',
        errors: [{ path: 'events[1].id' }],
      });
      expect(await sequencesOf(organizationId)).toEqual([1]);
      expect(await headOf(organizationId)).toBe(1);
    });

    it('knows an event that it once made the id of', async () => {
      const event = newEvent({ organizationId });
      await one.writer.record(writeRequest([event]));
      const returned = { ...event, hasClientId: true, hasClientTimestamp: true };
      const [receipt] = receiptsIn(await one.writer.record(writeRequest([returned])));
      expect(receipt).toMatchObject({ status: 'duplicate', sequence: '1' });
    });

    it('finds repetitions inside one request and between requests that share a transaction', async () => {
      const event = clientEvent({ organizationId });
      await occupied(one, async () => {
        const [first, second, third] = await Promise.allSettled([
          one.writer.record(writeRequest([event, { ...event }])),
          one.writer.record(writeRequest([{ ...event }])),
          one.writer.record(writeRequest([{ ...event, action: 'other' }])),
        ]);
        expect(
          [first, second].flatMap((result) =>
            result.status === 'fulfilled' ? receiptsIn(result.value) : [],
          ),
        ).toMatchObject([
          { status: 'created', sequence: '1' },
          { status: 'duplicate', sequence: '1' },
          { status: 'duplicate', sequence: '1' },
        ]);
        expect(third).toMatchObject({ status: 'rejected', reason: { code: 'CONFLICT' } });
      });
      expect(await sequencesOf(organizationId)).toEqual([1]);
    });

    it('keeps the same id in two organizations apart', async () => {
      const event = clientEvent({ organizationId });
      const twin = { ...event, organizationId: `${organizationId}-twin`, action: 'other' };
      expect(storedKey(event)).not.toBe(storedKey(twin));
      const receipts = receiptsIn(await one.writer.record(writeRequest([event, twin])));
      expect(receipts.map(({ status }) => status)).toEqual(['created', 'created']);
    });

    it('stores an id once when several replicas get it at the same moment', async () => {
      const event = clientEvent({ organizationId });
      const recorded = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          (index % 2 ? one : two).writer.record(writeRequest([{ ...event }])),
        ),
      );
      const statuses = recorded.flatMap(receiptsIn).map(({ status }) => status);
      expect(statuses.filter((status) => status === 'created')).toHaveLength(1);
      expect(await sequencesOf(organizationId)).toEqual([1]);
    });
  });

  describe('with idempotency keys', () => {
    it('gives the first answer again, byte for byte, from another replica too', async () => {
      const request = () =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId) });
      const first = await one.writer.record(request());
      const second = await two.writer.record(request());
      expect(first.replayed).toBe(false);
      expect(second).toEqual({ answer: first.answer, replayed: true });
      expect(await sequencesOf(organizationId)).toEqual([1]);
    });

    it('refuses another body under the same key, and a key in use', async () => {
      const request = (body: string) =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId, body) });
      const running = one.writer.record(request('a'));
      await expect(one.writer.record(request('a'))).rejects.toMatchObject({ code: 'CONFLICT' });
      await running;
      await expect(two.writer.record(request('b'))).rejects.toMatchObject({
        code: 'IDEMPOTENCY_MISMATCH',
      });
      expect(await sequencesOf(organizationId)).toEqual([1]);
    });

    it('refuses a key that another replica is working on, without waiting for it', async () => {
      await one.writer.record(writeRequest([newEvent({ organizationId })]));
      const lock = await lockHead(organizationId);
      const request = () =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId) });
      const running = one.writer.record(request());
      await until(async () => (await waitingForHeads()) > 0);
      await expect(two.writer.record(request())).rejects.toMatchObject({ code: 'CONFLICT' });
      await lock.release();
      expect((await running).replayed).toBe(false);
      expect(await sequencesOf(organizationId)).toEqual([1, 2]);
    });

    it('lets a key be used again after its request failed', async () => {
      const key = claim(organizationId);
      const event = clientEvent({ organizationId });
      await one.writer.record(writeRequest([event]));
      const refused = writeRequest([{ ...event, action: 'other' }], { claim: key });
      await expect(one.writer.record(refused)).rejects.toMatchObject({ code: 'CONFLICT' });
      const good = writeRequest([newEvent({ organizationId })], { claim: key });
      expect((await one.writer.record(good)).replayed).toBe(false);
    });
  });

  it('never deadlocks between replicas over the same organizations, with ids of clients or without', async () => {
    const names = ['a', 'b'].map((letter) => `${letter}-${organizationId}`);
    await one.writer.record(writeRequest(names.map((name) => newEvent({ organizationId: name }))));
    const deadlocks = async () => {
      await admin.query('SELECT pg_stat_clear_snapshot()');
      const { rows } = await admin.query<{ deadlocks: string }>(
        'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
      );
      return Number(rows[0]?.deadlocks);
    };
    const before = await deadlocks();
    const [first = '', second = ''] = names;
    const lock = await lockHead(first);
    const plain = one.writer.record(
      writeRequest([first, second].map((name) => newEvent({ organizationId: name }))),
    );
    await until(async () => (await waitingForHeads()) === 1);
    // Ids of clients are looked up under the lock of their organizations: here of the second one.
    const mixed = two.writer.record(
      writeRequest([
        clientEvent({ organizationId: second }),
        newEvent({ organizationId: first }),
        newEvent({ organizationId: second }),
      ]),
    );
    await until(async () => (await waitingForHeads()) === 2);
    await lock.release();
    await Promise.all([plain, mixed]);
    expect(await sequencesOf(first)).toEqual(oneTo(2 + 1));
    expect(await sequencesOf(second)).toEqual(oneTo(3 + 1));
    // Backends report their statistics when they are idle, at the latest when they end.
    await one.close();
    await two.close();
    one = await openReplica(test.url);
    two = await openReplica(test.url);
    expect((await deadlocks()) - before).toBe(0);
  });

  it('makes the partition again that was dropped behind its back', async () => {
    const timestamp = '1999-05-01T00:00:00.000000Z';
    await one.writer.record(writeRequest([newEvent({ organizationId, timestamp })]));
    await admin.query('DROP TABLE audit_event_199905');
    const event = newEvent({ organizationId, timestamp });
    const [receipt] = receiptsIn(await one.writer.record(writeRequest([event])));
    expect(receipt).toMatchObject({ id: event.id, sequence: '2', status: 'created' });
  });

  it('writes events of many months and years in one request', async () => {
    const months = Array.from({ length: 40 }, (_, index) => addMonths('1970-01', index * 17));
    const events = months.map((month) =>
      newEvent({ organizationId, timestamp: `${month}-01T00:00:00.000000Z` }),
    );
    await one.writer.record(writeRequest(events));
    expect(await sequencesOf(organizationId)).toEqual(oneTo(40));
  });

  it('sheds requests when too many events wait', async () => {
    const events = Array.from({ length: 200_001 }, () => newEvent({ organizationId }));
    await expect(one.writer.record(writeRequest(events))).rejects.toMatchObject({
      code: 'TOO_MANY_REQUESTS',
    });
  });

  it('waits at shutdown until everything is written', async () => {
    const writing = Array.from({ length: 30 }, () =>
      one.writer.record(writeRequest([newEvent({ organizationId })])),
    );
    await one.writer.onApplicationShutdown();
    expect(one.writer.statistics()).toEqual({
      waitingRequests: 0,
      waitingEvents: 0,
      runningTransactions: 0,
    });
    expect(await sequencesOf(organizationId)).toEqual(oneTo(30));
    await Promise.all(writing);
  });
});
