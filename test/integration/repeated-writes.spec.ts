import { createHash } from 'node:crypto';
import type { Client } from 'pg';
import { storedKey } from '../../src/audit/write/duplicates.participant';
import type { IdempotencyClaim } from '../../src/concurrency/idempotency-keys';

import { headOf, lockHead, sequencesOf, waitingForHeads, whileOccupied } from './heads.fixture';
import { makeMonthly } from './monthly-partitions.fixture';
import { clientEvent, newEvent, receiptsIn, type Replica, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';

function claim(key: string, body = key): IdempotencyClaim {
  const requestHash = createHash('sha256').update(body).digest();
  return { subject: 'alice', scope: Buffer.alloc(1), key, requestHash };
}

describe('writes that are repeated', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  let one: Replica;
  let two: Replica;
  beforeAll(() => {
    ({ admin, one, two } = replicas);
  });

  let organizationId = '';
  beforeEach(() => {
    organizationId = newOrganization();
  });

  describe('with ids that clients chose', () => {
    it('stores an event again whose partition was dropped meanwhile', async () => {
      await makeMonthly(admin, ['1999-05']);
      const event = clientEvent({ organizationId, timestamp: '1999-05-01T00:00:00.000000Z' });
      await one.writer.write(writeRequest([event]));
      await admin.query('DROP TABLE audit_event_199905');
      // Elsewhere in time, so that what is remembered of the lost event does not lead to this one.
      const moved = { ...event, timestamp: '1999-06-01T00:00:00.000000Z' };
      const [receipt] = receiptsIn(await two.writer.write(writeRequest([moved])));
      expect(receipt).toMatchObject({ id: event.id, sequence: '2', status: 'created' });
      const [again] = receiptsIn(await one.writer.write(writeRequest([moved])));
      expect(again).toMatchObject({ sequence: '2', status: 'duplicate' });
    });

    it('takes the same content for a duplicate and other content for a conflict', async () => {
      const event = clientEvent({ organizationId, metadata: '{"a":1,"b":[2.50]}' });
      await one.writer.write(writeRequest([event]));
      const again = { ...event, metadata: '{"b":[25e-1],"a":1.0}' };
      const [receipt] = receiptsIn(await two.writer.write(writeRequest([again])));
      expect(receipt).toMatchObject({ id: event.id, sequence: '1', status: 'duplicate' });
      const other = writeRequest([newEvent({ organizationId }), { ...event, action: 'other' }]);
      await expect(two.writer.write(other)).rejects.toMatchObject({
        code: 'CONFLICT',
        errors: [{ path: 'events[1].id' }],
      });
      expect(await sequencesOf(admin, organizationId)).toEqual([1]);
      expect(await headOf(admin, organizationId)).toBe(1);
    });

    it('knows an event that it once made the id of', async () => {
      const event = newEvent({ organizationId });
      await one.writer.write(writeRequest([event]));
      const returned = { ...event, hasClientId: true, hasClientTimestamp: true };
      const [receipt] = receiptsIn(await one.writer.write(writeRequest([returned])));
      expect(receipt).toMatchObject({ status: 'duplicate', sequence: '1' });
    });

    it('finds repetitions inside one request and between requests that share a transaction', async () => {
      const event = clientEvent({ organizationId });
      await whileOccupied(admin, one, async () => {
        const [first, second, third] = await Promise.allSettled([
          one.writer.write(writeRequest([event, { ...event }])),
          one.writer.write(writeRequest([{ ...event }])),
          one.writer.write(writeRequest([{ ...event, action: 'other' }])),
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
      expect(await sequencesOf(admin, organizationId)).toEqual([1]);
    });

    it('keeps the same id in two organizations apart', async () => {
      const event = clientEvent({ organizationId });
      const twin = { ...event, organizationId: `${organizationId}-twin`, action: 'other' };
      expect(storedKey(event)).not.toBe(storedKey(twin));
      const receipts = receiptsIn(await one.writer.write(writeRequest([event, twin])));
      expect(receipts.map(({ status }) => status)).toEqual(['created', 'created']);
    });

    it('stores an id once when several replicas get it at the same moment', async () => {
      const event = clientEvent({ organizationId });
      const recorded = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          (index % 2 ? one : two).writer.write(writeRequest([{ ...event }])),
        ),
      );
      const statuses = recorded.flatMap(receiptsIn).map(({ status }) => status);
      expect(statuses.filter((status) => status === 'created')).toHaveLength(1);
      expect(await sequencesOf(admin, organizationId)).toEqual([1]);
    });
  });

  describe('with idempotency keys', () => {
    it('gives the first response again, byte for byte, from another replica too', async () => {
      const request = () =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId) });
      const first = await one.writer.write(request());
      const second = await two.writer.write(request());
      expect(first.replayed).toBe(false);
      expect(second).toMatchObject({ text: first.text, replayed: true });
      expect(await sequencesOf(admin, organizationId)).toEqual([1]);
    });

    it('refuses another body under the same key, and a key in use', async () => {
      const request = (body: string) =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId, body) });
      const running = one.writer.write(request('a'));
      await expect(one.writer.write(request('a'))).rejects.toMatchObject({ code: 'CONFLICT' });
      await running;
      await expect(two.writer.write(request('b'))).rejects.toMatchObject({
        code: 'IDEMPOTENCY_MISMATCH',
      });
      expect(await sequencesOf(admin, organizationId)).toEqual([1]);
    });

    it('refuses a key that another replica is working on, without waiting for it', async () => {
      await one.writer.write(writeRequest([newEvent({ organizationId })]));
      const lock = await lockHead(admin, organizationId);
      const request = () =>
        writeRequest([newEvent({ organizationId })], { claim: claim(organizationId) });
      const running = one.writer.write(request());
      await until(async () => (await waitingForHeads(admin)) > 0);
      await expect(two.writer.write(request())).rejects.toMatchObject({ code: 'CONFLICT' });
      await lock.release();
      expect((await running).replayed).toBe(false);
      expect(await sequencesOf(admin, organizationId)).toEqual([1, 2]);
    });

    it('holds no lock that a client can choose by its key', async () => {
      await one.writer.write(writeRequest([newEvent({ organizationId })]));
      const lock = await lockHead(admin, organizationId);
      const key = claim(organizationId);
      const running = one.writer.write(
        writeRequest([newEvent({ organizationId })], { claim: key }),
      );
      await until(async () => (await waitingForHeads(admin)) > 0);
      const { rows } = await admin.query<{ isFree: boolean }>(
        `SELECT pg_try_advisory_xact_lock(hashtextextended($1 || E'\\x01' || $2, 0)) AS "isFree"`,
        [key.subject, key.key],
      );
      await lock.release();
      await running;
      expect(rows).toEqual([{ isFree: true }]);
    });

    it('lets a key be used again after its request failed', async () => {
      const key = claim(organizationId);
      const event = clientEvent({ organizationId });
      await one.writer.write(writeRequest([event]));
      const refused = writeRequest([{ ...event, action: 'other' }], { claim: key });
      await expect(one.writer.write(refused)).rejects.toMatchObject({ code: 'CONFLICT' });
      const good = writeRequest([newEvent({ organizationId })], { claim: key });
      expect((await one.writer.write(good)).replayed).toBe(false);
    });
  });
});
