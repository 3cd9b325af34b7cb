import { Client } from 'pg';
import { addMonths, monthOf } from '../../src/platform/database/partitions';
import { until } from '../integration/until.fixture';
import { openNetworkPath, type NetworkPath } from '../integration/network-path.fixture';
import { startTestRedis, type TestRedis } from '../support/redis-server';
import { EVENTS, TestService, tokenOf } from '../support/test-service';

const ALERTS = '/api/v1/performance/alerts';
const HEALTH = '/api/v1/performance/health';

describe('alerts about dependencies', () => {
  let service: TestService;
  let redis: TestRedis | undefined;
  let toRedis: NetworkPath | undefined;
  let toDatabase: NetworkPath;
  let operator: string;
  let direct: Client;

  beforeAll(async () => {
    redis = await startTestRedis();
    toRedis = redis && (await openNetworkPath(redis.url));
    service = await TestService.start(
      {
        ALERT_INTERVAL_MS: '100',
        DATABASE_POOL_MAX: '2',
        CONCURRENCY_QUEUE_TIMEOUT_MS: '4000',
        LOG_LEVEL: 'fatal',
        ...(toRedis ? { REDIS_URL: toRedis.url } : {}),
      },
      async (url) => {
        toDatabase = await openNetworkPath(url);
        return toDatabase.url;
      },
    );
    operator = await tokenOf({ scope: 'performance:read audit:read' });
    const url = new URL(service.databaseUrl);
    direct = new Client({ connectionString: url.href });
    await direct.connect();
  });

  afterAll(async () => {
    await direct?.end();
    await service?.stop();
    toDatabase?.cut();
    toRedis?.cut();
    await redis?.stop();
    delete process.env.REDIS_URL;
  });

  const activeTypes = async (): Promise<string[]> => {
    const { json } = await service.get(`${ALERTS}?state=active`, operator);
    return (json as { type: string }[]).map(({ type }) => type);
  };
  const raised = (type: string) => until(async () => (await activeTypes()).includes(type));
  const over = (type: string) => until(async () => !(await activeTypes()).includes(type));

  it('are raised for an exhausted pool, which is then the likeliest bottleneck', async () => {
    await direct.query('BEGIN');
    await direct.query('LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
    const waiting = Array.from({ length: 6 }, (_, index) =>
      service.get(`${EVENTS}?limit=${index + 1}`, operator, { 'cache-control': 'no-cache' }),
    );
    await raised('POOL_EXHAUSTED');
    const { json } = await service.get(HEALTH, operator);
    expect(json.status).toBe('warning');
    expect(json.recommendations[0]).toMatch(
      /^Most likely bottleneck: the connection pool is exhausted. 2 of 2 connections are in use and [4-9] callers wait/,
    );
    expect((await service.get('/metrics')).text).toMatch(
      /^audit_database_pool_waiting_requests [4-9]$/m,
    );
    expect(await activeTypes()).not.toContain('DATABASE_UNAVAILABLE');
    const refused = /^audit_concurrency_permits_total\{outcome="queue_timeout"\} 4$/m;
    await until(async () => refused.test((await service.get('/metrics')).text));
    await direct.query('ROLLBACK');
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 200, 503, 503, 503, 503]);
    await over('POOL_EXHAUSTED');
    const report = await service.get('/api/v1/performance/database/performance-report', operator);
    expect(report.json.connectionPool.successRate).toBeLessThan(100);
  });

  it('ask PostgreSQL on the connection of the probes', async () => {
    await service.get('/health/ready');
    const { rows } = await direct.query<{ name: string; count: number }>(
      `SELECT application_name AS name, count(*)::int FROM pg_stat_activity
       WHERE datname = current_database() AND application_name ~ '^audit-server .*(health|monitoring)' GROUP BY 1`,
    );
    expect(rows).toEqual([{ name: 'audit-server health', count: 1 }]);
  });

  it('are raised for a partition that is gone', async () => {
    const next = addMonths(monthOf(new Date().toISOString()), 1).replace('-', '');
    await direct.query(`ALTER TABLE audit_event DETACH PARTITION audit_event_${next}`);
    await raised('PARTITION_MISSING');
    await direct.query(
      `ALTER TABLE audit_event ATTACH PARTITION audit_event_${next} FOR VALUES
       FROM ('${next.slice(0, 4)}-${next.slice(4)}-01T00:00:00Z')
       TO (('${next.slice(0, 4)}-${next.slice(4)}-01T00:00:00Z'::timestamptz AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC')`,
    );
    await over('PARTITION_MISSING');
  });

  it('are raised for PostgreSQL and Redis being away, and over when they are back', async () => {
    const { port } = toDatabase;
    toDatabase.cut();
    toRedis?.cut();
    await raised('DATABASE_UNAVAILABLE');
    if (redis) await raised('REDIS_UNAVAILABLE');
    const { json } = await service.get(HEALTH, operator);
    expect(json.status).toBe('critical');
    expect((json.recommendations as string[]).join('\n')).toMatch(/PostgreSQL does not answer/);
    toDatabase = await openNetworkPath(service.databaseUrl, port);
    if (redis && toRedis) toRedis = await openNetworkPath(redis.url, toRedis.port);
    await over('DATABASE_UNAVAILABLE');
    if (redis) await over('REDIS_UNAVAILABLE');
  });
});

describe('a service with MONITORING_ENABLED=false', () => {
  it('counts and warns of nothing, and still answers', async () => {
    const service = await TestService.start({ MONITORING_ENABLED: 'false', REDIS_URL: '' });
    try {
      const operator = await tokenOf({ scope: 'performance:read audit:read' });
      for (let round = 0; round < 5; round += 1) await service.get(EVENTS, operator);
      const { json } = await service.get('/api/v1/performance/metrics', operator);
      expect(json).toMatchObject({ requestsPerSecond: 0, window: { requests: 0 } });
      expect(json.cacheStats.totalRequests).toBe(5);
      expect((await service.get(ALERTS, operator)).json).toEqual([]);
      const { text } = await service.get('/metrics');
      expect(text).not.toMatch(/^audit_http_requests_total\{/m);
      expect(text).toMatch(/^audit_cache_requests_total\{/m);
    } finally {
      await service.stop();
      delete process.env.MONITORING_ENABLED;
    }
  });
});
