import { schemaErrors } from '../../src/audit/write/schema.participant';
import type { EventFaults } from '../../src/audit/schemas/event-schemas';
import { whileOccupied } from './heads.fixture';
import { clientEvent, newEvent, receiptsIn, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';

const replicas = useTwoReplicas();

const faultsAt = (...indexes: number[]): EventFaults =>
  new Map(indexes.map((index) => [index, [{ path: 'metadata.ward', message: 'is wrong' }]]));

const stored = async (organizationId: string): Promise<number> => {
  const { rows } = await replicas.admin.query<{ count: number }>(
    'SELECT count(*)::integer AS count FROM audit_event WHERE organization_id = $1',
    [organizationId],
  );
  return rows[0]?.count ?? 0;
};

const REFUSED = {
  status: 'rejected',
  reason: expect.objectContaining({
    code: 'VALIDATION_FAILED',
    errors: [{ path: 'events[0].metadata.ward', message: 'is wrong' }],
  }),
};

it('refuses a request with a fault alone: others of the transaction are stored', async () => {
  const organizationId = newOrganization();
  const { admin, one } = replicas;
  await whileOccupied(admin, one, async () => {
    const results = await Promise.allSettled([
      one.writer.write(writeRequest([newEvent({ organizationId })])),
      one.writer.write(writeRequest([clientEvent({ organizationId })], { faults: faultsAt(0) })),
      one.writer.write(writeRequest([clientEvent({ organizationId })])),
      one.writer.write(writeRequest([newEvent({ organizationId })], { faults: faultsAt(0) })),
    ]);
    const statuses = results.map(({ status }) => status);
    expect(statuses).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    expect(results[1]).toEqual(REFUSED);
  });
  expect(await stored(organizationId)).toBe(2);
});

it('does not count a refused event as the first of those that repeat it', async () => {
  const organizationId = newOrganization();
  const { admin, one } = replicas;
  const event = clientEvent({ organizationId });
  const commits: number[] = [];
  one.writer.onCommit(({ requests, organizations }) => {
    if (organizations.has(organizationId)) commits.push(requests);
  });
  await whileOccupied(admin, one, async () => {
    const [refused, created, repeated] = await Promise.allSettled([
      one.writer.write(writeRequest([event], { faults: faultsAt(0) })),
      one.writer.write(writeRequest([{ ...event }])),
      one.writer.write(writeRequest([{ ...event }], { faults: faultsAt(0) })),
    ]);
    expect(refused).toEqual(REFUSED);
    const statuses = [created, repeated].map((result) =>
      result.status === 'fulfilled' ? receiptsIn(result.value)[0]?.status : result,
    );
    expect(statuses).toEqual(['created', 'duplicate']);
  });
  expect(commits).toEqual([3]); // not request by request after a failure of all
  expect(await stored(organizationId)).toBe(1);
});

it('puts the path of the event in front of that in it', () => {
  const faults: EventFaults = new Map([
    [0, [{ path: '', message: 'a' }]],
    [1, [{ path: '["odd name"]', message: 'b' }]],
  ]);
  expect(schemaErrors({ faults, pathOf: (index) => `events[${index}]` })).toEqual([
    { path: 'events[0]', message: 'a' },
    { path: 'events[1]["odd name"]', message: 'b' },
  ]);
  expect(schemaErrors({ faults, pathOf: () => '' })).toEqual([
    { path: '', message: 'a' },
    { path: '["odd name"]', message: 'b' },
  ]);
});
