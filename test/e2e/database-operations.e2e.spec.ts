import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { allowEventChanges } from '../support/event-changes';

const DATABASE = '/api/v1/performance/database';
const DAY_MS = 86_400_000;

let service: TestService;
let operator: string;
let admin: Client;

beforeAll(async () => {
  service = await TestService.start({
    REDIS_URL: '',
    RETENTION_DAYS: '60',
    DATABASE_UPKEEP_INTERVAL_SECONDS: '1',
  });
  operator = await tokenOf({
    scope: 'audit:read audit:write performance:read performance:manage',
    organizations: ['*'],
  });
  admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

const report = async () => (await service.get(`${DATABASE}/performance-report`, operator)).json;

describe('the report', () => {
  it('has the documented shape', async () => {
    const answer = await service.get(`${DATABASE}/performance-report`, operator);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(Object.keys(answer.json)).toEqual([
      'timestamp',
      'connectionPool',
      'queryCache',
      'partitions',
      'sealedIndexes',
      'performance',
    ]);
    expect(answer.json).toMatchObject({
      connectionPool: {
        totalConnections: expect.any(Number),
        activeConnections: expect.any(Number),
        waitingRequests: 0,
        averageAcquisitionTime: expect.any(Number),
        successRate: 100,
      },
      partitions: {
        totalPartitions: expect.any(Number),
        totalSizeGB: expect.any(Number),
        recommendations: expect.any(Array),
      },
      sealedIndexes: {
        totalIndexes: expect.any(Number),
        totalSizeGB: expect.any(Number),
        unsealedEvents: expect.any(Number),
        failures: 0,
        recommendations: [],
      },
      performance: {
        slowQueries: 0,
        unusedIndexes: expect.any(Number),
        cacheHitRatio: expect.any(Number),
        suggestions: expect.any(Array),
      },
    });
    expect(answer.json.connectionPool.activeConnections).toBeGreaterThanOrEqual(1);
  });

  it('moves with what happens', async () => {
    const before = await report();
    const organizationId = `org-${randomUUID()}`;
    const timestamp = new Date(Date.now() - 35 * DAY_MS).toISOString();
    await service.post(EVENTS, operator, eventWith({ organizationId, timestamp }));
    const reader = await tokenOf({ organizations: [organizationId] });
    for (let count = 0; count < 4; count += 1) await service.get(EVENTS, reader);
    const after = await report();
    expect(after.partitions.totalPartitions).toBe(before.partitions.totalPartitions + 1);
    expect(after.partitions.totalSizeGB).toBeGreaterThan(before.partitions.totalSizeGB);
    expect(after.queryCache.hitRatio).toBe(75);
    expect(after.queryCache).toMatchObject({ totalSizeMB: expect.any(Number), evictions: 0 });
  });

  it('counts statements that run for long, and says where it knows them from', async () => {
    const slow = admin.query('SELECT pg_sleep(1.5)');
    await until(async () => (await report()).performance.slowQueries === 1);
    const suggestions = (await report()).performance.suggestions as string[];
    await slow;
    expect(suggestions.join('\n')).toMatch(/pg_stat_activity, process \d+/);
    expect(suggestions.join('\n')).toMatch(/pg_stat_statements is not installed/);
    expect(suggestions.join('\n')).not.toContain('pg_sleep');
  });

  it('needs performance:read', async () => {
    for (const path of ['performance-report', 'health']) {
      expectProblem(await service.get(`${DATABASE}/${path}`), 401, 'UNAUTHENTICATED');
      const reader = await tokenOf({ scope: 'audit:read performance:manage' });
      expectProblem(await service.get(`${DATABASE}/${path}`, reader), 403, 'FORBIDDEN');
    }
  });
});

describe('the health', () => {
  it('of a fresh process is healthy, component by component', async () => {
    const { status, json } = await service.get(`${DATABASE}/health`, operator);
    expect(status).toBe(200);
    expect(json).toMatchObject({
      overall: 'healthy',
      components: {
        connectionPool: { status: 'healthy', details: { maxConnections: 10 } },
        queryCache: { status: 'healthy' },
        partitions: { status: 'healthy' },
        performance: { status: 'healthy' },
      },
      recommendations: [],
    });
    expect(Object.keys(json)).toEqual(['overall', 'components', 'recommendations']);
  });
});

describe('an optimization', () => {
  const optimize = (token?: string) => service.request('POST', `${DATABASE}/optimize`, { token });

  it('has the documented shape', async () => {
    const { status, json } = await optimize(operator);
    expect(status).toBe(200);
    expect(json).toEqual({
      partitionOptimization: [],
      indexOptimization: expect.any(Array),
      maintenanceResults: {
        vacuumResults: expect.any(Array),
        analyzeResults: expect.any(Array),
        reindexResults: expect.any(Array),
      },
      configOptimization: expect.any(Array),
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it('is refused while another one runs', async () => {
    await admin.query('SELECT pg_advisory_lock($1)', [0x6f70746d]);
    const answer = await optimize(operator);
    await admin.query('SELECT pg_advisory_unlock_all()');
    expectProblem(answer, 409, 'CONFLICT');
    expect(answer.headers.get('retry-after')).toBe('5');
  });

  it('needs performance:manage', async () => {
    expectProblem(await optimize(), 401, 'UNAUTHENTICATED');
    expectProblem(await optimize(await tokenOf({ scope: 'performance:read' })), 403, 'FORBIDDEN');
  });
});

describe('scheduled maintenance', () => {
  it('drops events past retention, and no cached page shows them any longer', async () => {
    const organizationId = `org-${randomUUID()}`;
    const of = (days: number) => new Date(Date.now() - days * DAY_MS).toISOString();
    const posted = await Promise.all(
      [1, 59, 150, 2000].map((days) =>
        service.post(EVENTS, operator, eventWith({ organizationId, timestamp: of(days) })),
      ),
    );
    expect(posted.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    // Retention of a process that was just started needs an event of the day before as a witness of its clock.
    await allowEventChanges(admin);
    await admin.query(
      'UPDATE audit_event SET recorded_at = timestamp WHERE organization_id = $1 AND id = $2',
      [organizationId, posted[0]?.json.id],
    );
    const reader = await tokenOf({ organizations: [organizationId] });
    const page = async () => service.get(EVENTS, reader);
    await until(async () => eventsIn(await page()).length === 2);
    // Hiding moves the version, and so does dropping: then pages are kept again.
    await until(async () => (await page()).headers.get('x-cache') === 'HIT');
    expect(eventsIn(await page())).toHaveLength(2);
    for (const { json } of posted.slice(2)) {
      expectProblem(await service.get(`${EVENTS}/${json.id}`, reader), 404, 'NOT_FOUND');
    }
    const health = await service.get(`${DATABASE}/health`, operator);
    expect(health.json.components.partitions.details.lastUpkeep).toMatchObject({
      at: expect.any(String),
    });
    const again = await service.post(
      EVENTS,
      await tokenOf({ organizations: [organizationId] }),
      eventWith({ organizationId }),
    );
    expect(again.json.sequence).toBe('5');
  });
});
