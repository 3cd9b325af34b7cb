import { MetricRegistry } from '../../src/metrics/metrics.registry';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const MANY = 30;
const REPORT = '/api/v1/performance/database/performance-report';

let service: TestService;
let blocker: Blocker;
let operator: string;

beforeAll(async () => {
  service = await TestService.start({
    // These would wait for the locks of the blocker, too.
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    MONITORING_ENABLED: 'false',
    REQUEST_TIMEOUT_MS: '3000',
    DATABASE_POOL_MAX: '3',
    CACHE_ENABLED: 'false',
  });
  operator = await tokenOf({ scope: 'audit:read audit:write performance:read' });
  await service.post(EVENTS, operator, eventWith()); // makes a partition, which is what is looked at
  blocker = await Blocker.connect(service.databaseUrl);
});

afterAll(async () => {
  await blocker?.close();
  await service?.stop();
});

afterEach(() => blocker.unblock());

/** Asks from many sides at once, while the answer takes its time in PostgreSQL. */
async function askAllAtOnce(path: string, token?: string) {
  await blocker.blockReads();
  const answers = Array.from({ length: MANY }, () => service.get(path, token));
  const areUnderWay = new RegExp(`^audit_http_requests_in_flight ${MANY}$`, 'm');
  await until(async () => areUnderWay.test((await service.provider(MetricRegistry).text()).text));
  await until(async () => (await blocker.busy()).length > 0);
  return answers;
}

describe('any number of simultaneous requests to monitoring', () => {
  it.each([
    ['how the service is, without a token', '/health', undefined],
    ['for the report of the database', REPORT, () => operator],
    ['for the health of the database', '/api/v1/performance/database/health', () => operator],
  ])('PostgreSQL is asked by one connection %s', async (_, path, token) => {
    const answers = await askAllAtOnce(path, token?.());
    // Another one that is answered in between shows that all of them have been begun.
    expect((await service.get('/health/live')).status).toBe(200);
    expect(await blocker.busy()).toHaveLength(1);
    await blocker.unblock();
    for (const { status } of await Promise.all(answers)) expect(status).toBe(200);
    expect((await service.get(path, token?.())).status).toBe(200);
  });

  it('a report has the deadline of any request, and is cancelled in PostgreSQL', async () => {
    const answers = await askAllAtOnce(REPORT, operator);
    for (const answer of await Promise.all(answers)) expectProblem(answer, 504, 'REQUEST_TIMEOUT');
    await until(async () => (await blocker.busy()).length === 0);
    await blocker.unblock();
    expect((await service.get(REPORT, operator)).status).toBe(200);
  });

  it('a pool that is used up makes nothing unready', async () => {
    const reads = await askAllAtOnce(EVENTS, operator);
    await until(async () => (await blocker.busy()).length >= 3);
    expect((await service.get('/health/ready')).json).toMatchObject({
      status: 'ok',
      details: { database: { status: 'up', pool: { total: 3, idle: 0 } } },
    });
    await blocker.unblock();
    for (const { status } of await Promise.all(reads)) expect(status).toBe(200);
  });

  it('the figures for Prometheus are made once', async () => {
    const registry = service.provider(MetricRegistry);
    const [first, second] = await Promise.all([registry.text(), registry.text()]);
    expect(second).toBe(first);
    expect(await registry.text()).not.toBe(first);
  });
});
