import type { Client } from 'pg';
import type { WriteRequest } from '../../src/audit/write/batch-committer';
import { lockHead, oneTo, sequencesOf, whileOccupied } from './heads.fixture';
import { newEvent, receiptsIn, type Replica, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';

/** Writes without an idempotency key and without ids of clients: one statement commits them. */
describe('plain writes', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  let one: Replica;
  let organizationId = '';
  beforeAll(() => {
    ({ admin, one } = replicas);
  });
  beforeEach(() => {
    organizationId = newOrganization();
  });

  it('rejects only the write that cannot be acknowledged so, when all are committed by one statement', async () => {
    const good = (): WriteRequest => writeRequest([newEvent({ organizationId })]);
    const mute = (): WriteRequest => ({
      ...good(),
      textOf: () => {
        throw new Error('no answer');
      },
    });
    await whileOccupied(admin, one, async () => {
      const results = await Promise.allSettled(
        [good(), mute(), good()].map((request) => one.writer.write(request)),
      );
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    });
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(3));
  });

  it.each([
    ['by one statement', {}],
    ['step by step', { batchSize: 2 }],
  ])('numbers each organization by itself, in the order of the events, %s', async (_, how) => {
    const others = [newOrganization(), organizationId, newOrganization()];
    const events = Array.from({ length: 30 }, (_, n) =>
      newEvent({ organizationId: others[(n * n) % 3] ?? '' }),
    );
    const receipts = receiptsIn(await one.writer.write(writeRequest(events, how)));
    for (const id of others) {
      const own = receipts.filter((_, index) => events[index]?.organizationId === id);
      expect(own.map(({ sequence }) => Number(sequence))).toEqual(oneTo(own.length));
      for (const { id: eventId, text } of own) {
        expect(await one.queries.findById([id], eventId)).toBe(text);
      }
    }
  });

  it('wait for a head row no longer than others do, and leave no limit behind on the connection', async () => {
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    const limit = () =>
      one.database.withClient((client) =>
        client.query<{ lock_timeout: string }>('SHOW lock_timeout'),
      );
    expect((await limit()).rows).toEqual([{ lock_timeout: '0' }]);
    const { release } = await lockHead(admin, organizationId);
    await expect(
      one.writer.write(writeRequest([newEvent({ organizationId })])),
    ).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await release();
    await one.writer.write(writeRequest([newEvent({ organizationId })]));
    expect(await sequencesOf(admin, organizationId)).toEqual(oneTo(2));
    expect((await limit()).rows).toEqual([{ lock_timeout: '0' }]);
  });

  it.each([250, 251, 500, 501])(
    'store %i events of one request as they came, whatever their parameters are made in',
    async (count) => {
      const organizationId = newOrganization();
      const jsonOf = (index: number) => (index % 5 === 0 ? `{"n":${index}.0}` : null);
      const events = Array.from({ length: count }, (_, index) =>
        newEvent({
          organizationId,
          action: `"${index}\\`,
          principalId: index % 2 === 0 ? null : `${index}`,
          sessionContext: jsonOf(index),
          metadata: jsonOf(index + 1),
        }),
      );
      await replicas.one.writer.write(writeRequest(events));
      const { rows } = await replicas.admin.query(
        `SELECT id, action, principal_id AS "principalId", session_context::text AS "sessionContext",
           metadata::text AS metadata, sequence::int AS sequence
         FROM audit_event WHERE organization_id = $1 ORDER BY sequence`,
        [organizationId],
      );
      expect(rows).toEqual(
        events.map(({ id, action, principalId, sessionContext, metadata }, index) => ({
          ...{ id, action, principalId, sessionContext, metadata },
          sequence: index + 1,
        })),
      );
    },
  );
});
