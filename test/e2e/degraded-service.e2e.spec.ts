import { Client } from 'pg';
import { addMonths } from '../../src/platform/database/partitions';
import { newEvent, openReplica, writeRequest } from '../integration/replica.fixture';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

/** Gives a replica the heads of the primary, without which it is taken for one of another history. */
async function copyHeads(primary: Client, replicaUrl: string): Promise<void> {
  const { rows } = await primary.query<{ id: string; sequence: string; at: string }>(
    'SELECT organization_id AS id, last_sequence::text AS sequence, recorded_at::text AS at FROM audit_organization',
  );
  const replica = new Client({ connectionString: replicaUrl });
  await replica.connect();
  for (const { id, sequence, at } of rows) {
    await replica.query(
      'UPDATE audit_organization SET last_sequence = $2, recorded_at = $3 WHERE organization_id = $1',
      [id, sequence, at],
    );
  }
  await replica.end();
}

/** A service with a read replica, whose limits are reached from the start; it logs as in production. */
describe('a degraded service', () => {
  let replica: TestDatabase;
  let service: TestService;
  let token: string;
  let log = '';

  beforeAll(async () => {
    replica = await createTestDatabase();
    const writing = await openReplica(replica.url);
    await writing.writer.write(writeRequest([newEvent({ action: 'only on the replica' })]));
    await writing.close();
    const take = (text: unknown): boolean => (log += String(text)) !== '';
    jest.spyOn(process.stdout, 'write').mockImplementation(take);
    service = await TestService.start({
      DATABASE_REPLICA_URLS: replica.url,
      MEMORY_ALERT_PERCENT: '1',
      DATA_DIR: '/dev/null/data',
      LOG_LEVEL: 'info',
      LOG_FORMAT: 'json',
    });
    token = await tokenOf();
  });

  afterAll(async () => {
    await service?.stop();
    jest.restoreAllMocks();
    await replica?.drop();
  });

  it('logs as LOG_LEVEL and LOG_FORMAT say', () => {
    const entries = log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { level: string; context: string });
    expect(entries).toContainEqual(expect.objectContaining({ context: 'AuditModule' }));
    expect(entries.filter(({ context }) => context === 'RouterExplorer')).toEqual([]);
  });

  it('reads on the replica of DATABASE_REPLICA_URLS and writes on the primary', async () => {
    const { json: written } = await service.post(EVENTS, token, eventWith());
    await copyHeads(await service.connect(), replica.url);
    const page = await service.get(`${EVENTS}?include_total=true`, token);
    expect(eventsIn(page)).toMatchObject([{ action: 'only on the replica' }]);
    expect(page.json.pagination.total).toBe(1);
    const [stored] = eventsIn(page);
    expect((await service.get(`${EVENTS}/${stored?.id}`, token)).status).toBe(200);
    expect((await service.get(`${EVENTS}/${written.id}`, token)).status).toBe(404);
  });

  it('reports the impaired indicators as degraded, and works: 200', async () => {
    const before = await service.get('/health');
    expect(before.status).toBe(200);
    expect(before.json).toMatchObject({
      status: 'degraded',
      error: {},
      details: {
        memory: { status: 'degraded', usedPercent: expect.any(Number) },
        disk: { status: 'degraded', message: 'DATA_DIR cannot be read' },
        partitions: { status: 'up' },
        database: { status: 'up' },
      },
    });
    expect(before.text).not.toContain('/dev/null');
    expect((await service.get('/health/ready')).status).toBe(200);
  });

  it('names the month whose partition is missing', async () => {
    const next = addMonths(new Date().toISOString().slice(0, 7), 1);
    const admin = new Client({ connectionString: service.databaseUrl });
    await admin.connect();
    await admin.query(`DROP TABLE audit_event_${next.replace('-', '')}`);
    await admin.end();
    const { status, json } = await service.get('/health');
    expect(status).toBe(200);
    expect(json.details.partitions).toMatchObject({
      status: 'degraded',
      tables: { audit_event: { missing: [next], total: 3 } },
    });
  });
});
