import { Client } from 'pg';
import type { PageRequest } from '../../src/audit/read/page-statement';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { oneTo } from './heads.fixture';
import { monthsAhead } from '../../src/platform/database/partitions';
import { newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { newOrganization } from './two-replicas.fixture';
import { openNetworkPath } from './network-path.fixture';
import { allowEventChanges } from '../support/event-changes';

/** A second database plays the read replica: what is in it is what was replicated so far, marked as read there. */
describe('reads with a read replica', () => {
  let primary: TestDatabase;
  let copy: TestDatabase;
  let admin: Client;
  let source: Client;
  let service: Replica;

  beforeAll(async () => {
    primary = await createTestDatabase();
    copy = await createTestDatabase();
    admin = new Client({ connectionString: copy.url });
    await admin.connect();
    source = new Client({ connectionString: primary.url });
    await source.connect();
    const other = await openReplica(copy.url);
    await other.partitions.ensure('audit_event', monthsAhead(0));
    await other.close();
    service = await openReplica(primary.url, { replicaUrls: [copy.url] });
  });

  afterAll(async () => {
    await service?.close();
    await admin?.end();
    await source?.end();
    await primary?.drop();
    await copy?.drop();
  });

  async function write(organizationId: string, count: number): Promise<void> {
    const events = Array.from({ length: count }, () => newEvent({ organizationId }));
    await service.writer.write(writeRequest(events));
  }

  /**
   * The replica has replayed this organization up to this number, of which it received all, whatever the primary has of
   * it now; `micros` later, when it is to be another history.
   */
  async function replicate(organizationId: string, last: number, micros = 0): Promise<void> {
    const { rows } = await source.query<{ sequence: string; at: string }>(
      'SELECT sequence::text, recorded_at::text AS at FROM audit_event WHERE organization_id = $1',
      [organizationId],
    );
    const times = new Map(rows.map(({ sequence, at }) => [Number(sequence), at]));
    await allowEventChanges(admin);
    await admin.query('DELETE FROM audit_event WHERE organization_id = $1', [organizationId]);
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT $1, now(), gen_random_uuid(), n, coalesce(at, now()) + $3 * interval '1 microsecond', 'on the replica', 'success', 'INTERNAL'
       FROM unnest($2::bigint[], $4::timestamptz[]) AS t (n, at)`,
      [organizationId, oneTo(last), micros, oneTo(last).map((n) => times.get(n) ?? null)],
    );
    await admin.query(
      `INSERT INTO audit_organization (organization_id, last_sequence, recorded_at)
       SELECT organization_id, sequence, recorded_at FROM audit_event WHERE organization_id = $1 AND sequence = $2
       ON CONFLICT (organization_id) DO UPDATE
       SET last_sequence = excluded.last_sequence, recorded_at = excluded.recorded_at`,
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
    const { texts: events } = await queries.findPage(page(organizations));
    const isCopy = events.some((text) => text.includes('"on the replica"'));
    return [isCopy ? 'replica' : 'primary', events.length];
  }

  it('are answered there once it has caught up with the primary, and not before', async () => {
    const id = newOrganization();
    await write(id, 3);
    await replicate(id, 2);
    expect(await readFrom([id])).toEqual(['primary', 3]);
    expect(await service.queries.count(page([id]))).toMatchObject({ count: 3 });
    await replicate(id, 3);
    expect(await readFrom([id])).toEqual(['replica', 3]);
    await write(id, 1);
    expect(await readFrom([id])).toEqual(['primary', 4]);
    await replicate(id, 4);
    expect(await readFrom([id])).toEqual(['replica', 4]);
    expect(await service.queries.count(page([id]))).toMatchObject({ count: 4 });
  });

  it('of one event, too', async () => {
    const event = newEvent({ organizationId: newOrganization() });
    await service.writer.write(writeRequest([event]));
    expect(await service.queries.findById([event.organizationId], event.id)).toContain(event.id);
    await replicate(event.organizationId, 1); // with another id
    expect(await service.queries.findById([event.organizationId], event.id)).toBeUndefined();
  });

  it('care for the organizations that are asked for, and for each of them', async () => {
    const [one, two, three] = [newOrganization(), newOrganization(), newOrganization()];
    for (const id of [one, two, three]) await write(id, 2);
    await replicate(one, 2);
    await replicate(two, 2);
    expect(await readFrom([one, two].sort())).toEqual(['replica', 4]);
    await replicate(two, 1);
    expect(await readFrom([one, two].sort())).toEqual(['primary', 4]);
    expect(await readFrom([one])).toEqual(['replica', 2]);
  });

  it('are not answered there when it holds another history, as far, behind or ahead', async () => {
    const id = newOrganization();
    await write(id, 3);
    await replicate(id, 3, 1);
    expect(await readFrom([id])).toEqual(['primary', 3]);
    await replicate(id, 5, 1);
    expect(await readFrom([id])).toEqual(['primary', 3]);
    expect(await service.queries.count(page([id]))).toMatchObject({ count: 3 });
    // The old primary after a failover: it has all that the new one has, and events that were lost.
    await replicate(id, 5);
    expect(await readFrom([id])).toEqual(['primary', 3]);
    await replicate(id, 3);
    expect(await readFrom([id])).toEqual(['replica', 3]);
    const lost = newOrganization(); // of which the primary has nothing any more
    await replicate(lost, 2);
    expect(await readFrom([lost])).toEqual(['primary', 0]);
    expect(await readFrom([id, lost].sort())).toEqual(['primary', 3]);
  });

  it('are not answered there before retention has moved the version there as well', async () => {
    const id = newOrganization();
    await write(id, 2);
    await replicate(id, 2);
    await source.query(
      'UPDATE audit_organization SET recorded_at = clock_timestamp() WHERE organization_id = $1',
      [id],
    );
    expect(await readFrom([id])).toEqual(['primary', 2]);
  });

  it('of all organizations are, when the sums of numbers and of times are the same', async () => {
    await allowEventChanges(admin);
    await admin.query('DELETE FROM audit_event');
    await admin.query('DELETE FROM audit_organization');
    const { rows } = await source.query<{ id: string; last: number }>(
      'SELECT organization_id AS id, last_sequence::int AS last FROM audit_organization',
    );
    for (const { id, last } of rows) await replicate(id, last);
    await source.query(
      `UPDATE audit_organization o SET recorded_at = e.recorded_at FROM audit_event e
       WHERE e.organization_id = o.organization_id AND e.sequence = o.last_sequence`,
    );
    expect((await readFrom('*'))[0]).toBe('replica');
    const id = newOrganization();
    await write(id, 2);
    expect((await readFrom('*'))[0]).toBe('primary');
    await replicate(id, 2, 1);
    expect((await readFrom('*'))[0]).toBe('primary');
    await replicate(id, 2);
    expect((await readFrom('*'))[0]).toBe('replica');
    await replicate(newOrganization(), 1); // ahead, or of another history
    expect((await readFrom('*'))[0]).toBe('primary');
  });

  it('are not answered by one that the newest migration has not reached, which is not blamed', async () => {
    const id = newOrganization();
    await write(id, 1);
    await replicate(id, 1);
    await admin.query('ALTER TABLE audit_organization RENAME COLUMN recorded_at TO hidden');
    try {
      expect(await readFrom([id])).toEqual(['primary', 1]);
      expect((await readFrom('*'))[0]).toBe('primary');
    } finally {
      await admin.query('ALTER TABLE audit_organization RENAME COLUMN hidden TO recorded_at');
    }
    await admin.query('ALTER TABLE audit_event RENAME COLUMN schema_version TO hidden');
    try {
      expect(await readFrom([id])).toEqual(['primary', 1]);
      expect((await readFrom('*'))[0]).toBe('primary');
    } finally {
      await admin.query('ALTER TABLE audit_event RENAME COLUMN hidden TO schema_version');
    }
    expect(await readFrom([id])).toEqual(['replica', 1]);
  });

  it('are DATABASE_UNAVAILABLE without the primary, and the replica is not blamed', async () => {
    const network = await openNetworkPath(primary.url);
    const id = newOrganization();
    await write(id, 1);
    await replicate(id, 1);
    const reading = await openReplica(network.url, { replicaUrls: [copy.url] });
    try {
      expect(await readFrom([id], reading)).toEqual(['replica', 1]);
      network.cut();
      await expect(readFrom([id], reading)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      const mended = await openNetworkPath(primary.url, network.port);
      expect(await readFrom([id], reading)).toEqual(['replica', 1]);
      mended.cut();
    } finally {
      await reading.close();
    }
  });

  it('do without a replica that is away', async () => {
    const network = await openNetworkPath(copy.url);
    network.cut();
    const id = newOrganization();
    await write(id, 1);
    const reading = await openReplica(primary.url, { replicaUrls: [network.url] });
    try {
      expect(await readFrom([id], reading)).toEqual(['primary', 1]);
    } finally {
      await reading.close();
    }
  });

  it('ask for no version when there is no replica', async () => {
    const alone = await openReplica(primary.url);
    try {
      await readFrom([newOrganization()], alone);
      expect(alone.versions.statistics()).toEqual({ asked: 0, reads: 0, sums: 0 });
    } finally {
      await alone.close();
    }
  });
});
