import { Client } from 'pg';
import type { PageRequest } from '../../src/audit/page-statement';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { newOrganization } from './two-replicas.fixture';
import { openWay } from './way.fixture';

/** A second database plays the read replica: what is in it is what was replicated so far, marked as read there. */
describe('reads with a read replica', () => {
  let primary: TestDatabase;
  let copy: TestDatabase;
  let admin: Client;
  let service: Replica;

  beforeAll(async () => {
    primary = await createTestDatabase();
    copy = await createTestDatabase();
    admin = new Client({ connectionString: copy.url });
    await admin.connect();
    // As on a replica that has not heard of the newest migration.
    await admin.query('ALTER TABLE audit_organization DROP COLUMN recorded_at');
    const other = await openReplica(copy.url);
    await other.partitions.ensureAhead('audit_event', 0);
    await other.close();
    service = await openReplica(primary.url, { replicaUrls: [copy.url] });
  });

  afterAll(async () => {
    await service?.close();
    await admin?.end();
    await primary?.drop();
    await copy?.drop();
  });

  async function write(organizationId: string, count: number): Promise<void> {
    const events = Array.from({ length: count }, () => newEvent({ organizationId }));
    await service.writer.record(writeRequest(events));
  }

  /** The replica has replayed this organization up to this number. */
  async function replicate(organizationId: string, last: number): Promise<void> {
    await admin.query(
      `INSERT INTO audit_organization VALUES ($1, $2)
       ON CONFLICT (organization_id) DO UPDATE SET last_sequence = excluded.last_sequence`,
      [organizationId, last],
    );
    await admin.query('DELETE FROM audit_event WHERE organization_id = $1', [organizationId]);
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT $1, now(), gen_random_uuid(), n, now(), 'on the replica', 'success', 'INTERNAL' FROM generate_series(1, $2::int) n`,
      [organizationId, last],
    );
  }

  const page = (organizations: readonly string[] | '*'): PageRequest => ({
    organizations,
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    limit: 100,
    offset: 0,
  });

  /** Who answered, and with how many events. */
  async function readFrom(
    organizations: readonly string[] | '*',
    { queries }: Replica = service,
  ): Promise<[string, number]> {
    const events = await queries.findPage(page(organizations));
    const isCopy = events.some((text) => text.includes('"on the replica"'));
    return [isCopy ? 'replica' : 'primary', events.length];
  }

  it('are answered there once it shows what the primary does, and not before', async () => {
    const id = newOrganization();
    await write(id, 3);
    await replicate(id, 2);
    expect(await readFrom([id])).toEqual(['primary', 3]);
    expect(await service.queries.count(page([id]))).toBe(3);
    await replicate(id, 3);
    expect(await readFrom([id])).toEqual(['replica', 3]);
    await write(id, 1);
    expect(await readFrom([id])).toEqual(['primary', 4]);
    await replicate(id, 5); // further than this read saw the primary
    expect(await readFrom([id])).toEqual(['replica', 5]);
    expect(await service.queries.count(page([id]))).toBe(5);
  });

  it('of one event, too', async () => {
    const event = newEvent({ organizationId: newOrganization() });
    await service.writer.record(writeRequest([event]));
    expect(await service.queries.findById([event.organizationId], event.id)).toContain(event.id);
    await replicate(event.organizationId, 1); // with another id
    expect(await service.queries.findById([event.organizationId], event.id)).toBeUndefined();
  });

  it('care for the organizations that are asked for, and for each of them', async () => {
    const [one, two, three] = [newOrganization(), newOrganization(), newOrganization()];
    for (const id of [one, two, three]) await write(id, 2);
    await replicate(one, 4);
    await replicate(two, 2);
    expect(await readFrom([one, two].sort())).toEqual(['replica', 6]);
    await replicate(two, 1);
    expect(await readFrom([one, two].sort())).toEqual(['primary', 4]);
    expect(await readFrom([one])).toEqual(['replica', 4]);
  });

  it('of all organizations care for every one', async () => {
    const { rows } = await admin.query<{ sum: string }>(
      'SELECT coalesce(sum(last_sequence), 0)::text AS sum FROM audit_organization',
    );
    const id = newOrganization();
    await write(id, Number(rows[0]?.sum) + 1);
    expect((await readFrom('*'))[0]).toBe('primary');
    const epoch = await service.epochs.current('*');
    await replicate(newOrganization(), Number(epoch.split('.')[0]));
    expect((await readFrom('*'))[0]).toBe('replica');
  });

  it('are DATABASE_UNAVAILABLE without the primary, and the replica is not blamed', async () => {
    const way = await openWay(primary.url);
    const id = newOrganization();
    await replicate(id, 1);
    const reading = await openReplica(way.url, { replicaUrls: [copy.url] });
    try {
      expect(await readFrom([id], reading)).toEqual(['replica', 1]);
      way.cut();
      await expect(readFrom([id], reading)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      const mended = await openWay(primary.url, way.port);
      expect(await readFrom([id], reading)).toEqual(['replica', 1]);
      mended.cut();
    } finally {
      await reading.close();
    }
  });

  it('do without a replica that is away', async () => {
    const way = await openWay(copy.url);
    way.cut();
    const id = newOrganization();
    await write(id, 1);
    const reading = await openReplica(primary.url, { replicaUrls: [way.url] });
    try {
      expect(await readFrom([id], reading)).toEqual(['primary', 1]);
    } finally {
      await reading.close();
    }
  });

  it('ask for no epoch when there is no replica', async () => {
    const alone = await openReplica(primary.url);
    try {
      await readFrom([newOrganization()], alone);
      expect(alone.epochs.statistics()).toEqual({ asked: 0, reads: 0, sums: 0 });
    } finally {
      await alone.close();
    }
  });
});
