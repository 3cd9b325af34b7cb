import { ConcurrencyHealthIndicator } from '../../src/concurrency/concurrency.health';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { Agent, request as httpRequest } from 'node:http';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const NO_CACHE = { 'cache-control': 'no-cache' };

let service: TestService;
let blocker: Blocker;
let token: string;
let quiet: string;

beforeAll(async () => {
  service = await TestService.start({
    // These would wait for the locks of the blocker, and others behind them.
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    MONITORING_ENABLED: 'false',
    CONCURRENCY_MAX_REQUESTS: '2',
    CONCURRENCY_QUEUE_SIZE: '3',
    CONCURRENCY_QUEUE_TIMEOUT_MS: '700',
  });
  blocker = await Blocker.connect(service.databaseUrl);
  token = await tokenOf();
  quiet = await tokenOf({ sub: 'quiet', organizations: ['org-2'] });
  await service.post(EVENTS, token, eventWith());
});

afterAll(async () => {
  await blocker.close();
  await service.stop();
});

afterEach(() => blocker.unblock());

/** /health itself may wait for the locks of the blocker. */
function schedulerOf() {
  return service.provider(FairScheduler).statistics();
}

const read = (limit: number, from = token) =>
  service.get(`${EVENTS}?limit=${limit}`, from, NO_CACHE);

const headerNames = ({ headers }: Answer) => [...headers.keys()].sort();

/** Takes both permits for as long as the blocker holds its lock. */
async function takeAllPermits() {
  await service.get(`${EVENTS}?limit=9`, token); // is kept
  await blocker.blockReads();
  const running = [read(1), read(2)];
  await until(() => schedulerOf().active === 2);
  return running;
}

describe('when all permits are taken', () => {
  it('cached responses and probes do not wait, and a request that waits too long gets 503 on time', async () => {
    const running = await takeAllPermits();
    const waiting = read(3);
    await until(() => schedulerOf().queued === 1);
    const hit = await service.get(`${EVENTS}?limit=9`, token);
    expect([hit.status, hit.headers.get('x-cache')]).toEqual([200, 'HIT']);
    const probes = ['/health/live', '/health/ready', '/health/startup'];
    for (const path of probes) expect((await service.get(path)).status).toBe(200);
    expect(schedulerOf()).toMatchObject({ active: 2, queued: 1, max: 2, utilization: 100 });
    const late = await waiting;
    expectProblem(late, 503, 'QUEUE_TIMEOUT');
    expect(late.headers.get('retry-after')).toMatch(/^[1-9]\d?$/);
    expect(schedulerOf()).toMatchObject({ active: 2, queued: 0 }); // no permit was released for it
    await blocker.unblock();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it.each([
    ['a read', 'GET', EVENTS, undefined],
    ['a write', 'POST', EVENTS, eventWith()],
    ['a write through express', 'POST', `${EVENTS}?way=ordinary`, eventWith()],
    ['a bulk write', 'POST', `${EVENTS}/bulk`, { events: [eventWith()] }],
  ])('and the queue is full, the next is refused at once: %s', async (_, method, path, body) => {
    const running = [...(await takeAllPermits()), read(3), read(4), read(5)];
    await until(() => schedulerOf().queued === 3);
    const refused = await service.request(method, path, { token, body, headers: NO_CACHE });
    expect(schedulerOf()).toMatchObject({ active: 2, queued: 3 }); // before any of these moved
    expectProblem(refused, 503, 'TOO_MANY_REQUESTS');
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d?$/);
    // On the fast path the answer is written in another way: it must be the same.
    const accept = 'text/html, application/json;q=0.5'; // is left to express
    const headers = { ...NO_CACHE, accept };
    const ordinary = await service.request(method, path, { token, body, headers });
    expect(headerNames(refused)).toEqual(headerNames(ordinary));
    const { concurrency } = service.provider(ConcurrencyHealthIndicator).check();
    expect(concurrency?.status).toBe('degraded');
    await blocker.unblock();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual(Array(5).fill(200));
  });

  it.each([
    ['read', () => service.get(`${EVENTS}?limit=3`, quiet, NO_CACHE), 200],
    ['write', () => service.post(EVENTS, quiet, eventWith({ organizationId: 'org-2' })), 201],
  ])('and one organization waits in all places, another still has its %s', async (_, ask, good) => {
    const running = [...(await takeAllPermits()), read(3), read(4), read(5)];
    await until(() => schedulerOf().queued === 3);
    const { shed } = schedulerOf();
    const asked = ask();
    await until(() => schedulerOf().shed === shed + 1);
    expect(schedulerOf().queued).toBe(3);
    await blocker.unblock();
    expect((await asked).status).toBe(good);
    const statuses = (await Promise.all(running)).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 200, 200, 200, 503]);
  });

  it('a body is not read before its request has a permit', async () => {
    const running = [...(await takeAllPermits()), read(3), read(4), read(5)];
    await until(() => schedulerOf().queued === 3);
    const request = httpRequest({
      host: '127.0.0.1',
      port: service.port,
      method: 'POST',
      path: `${EVENTS}/bulk`,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': 5_000_000,
      },
      agent: new Agent(),
    });
    request.flushHeaders(); // and no byte of the body
    const status = await new Promise((resolve, reject) => {
      request.on('response', (response) => resolve(response.statusCode));
      request.on('error', reject);
    });
    request.destroy();
    expect(status).toBe(503);
    await blocker.unblock();
    await Promise.all(running);
  });

  it('requests of one organization wait in one flow, those of another in another', async () => {
    const running = await takeAllPermits();
    const flood = [read(3), read(4)];
    await until(() => schedulerOf().queued === 2);
    expect(schedulerOf().flows).toBe(1);
    const other = read(5, quiet);
    await until(() => schedulerOf().queued === 3);
    expect(schedulerOf().flows).toBe(2);
    const { text } = await service.get('/metrics');
    expect(text).toMatch(/^audit_concurrency_waiting_flows 2$/m);
    expect(text).not.toContain('org-2');
    await blocker.unblock();
    const answers = await Promise.all([...running, ...flood, other]);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(schedulerOf()).toMatchObject({ active: 0, queued: 0, flows: 0 });
  });
});

describe('a read that several wait for', () => {
  it('goes on for the others when one hangs up, and ends with the last', async () => {
    const path = `${EVENTS}?limit=11`;
    await blocker.blockReads();
    const leaving = new AbortController();
    const headers = { authorization: `Bearer ${token}` };
    const first = fetch(`${service.url}${path}`, { headers, signal: leaving.signal });
    first.catch(() => undefined);
    await until(() => schedulerOf().active === 1);
    const second = service.get(path, token);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(schedulerOf().active).toBe(1); // they share it
    leaving.abort();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(schedulerOf().active).toBe(1);
    await blocker.unblock();
    const answer = await second;
    expect(answer.status).toBe(200);
    expect(eventsIn(answer)).toHaveLength(1);
    expect(await blocker.busy()).toEqual([]);
  });
});

describe('/health', () => {
  it('shows the scheduler', async () => {
    const { json } = await service.get('/health');
    expect(json.details.concurrency).toEqual({
      status: 'up',
      active: 0,
      queued: 0,
      max: 2,
      utilization: 0,
      subscriptions: { sse: 0, trpc: 0, websocket: 0 },
    });
  });
});

describe('the performance of a bulk write', () => {
  it('is measured', async () => {
    const { json } = await service.post(`${EVENTS}/bulk`, token, {
      events: [eventWith(), eventWith()],
    });
    const { totalTime, averageTimePerEvent, concurrencyUtilization } = json.performance;
    expect(totalTime).toBeGreaterThan(0);
    expect(averageTimePerEvent).toBeCloseTo(totalTime / 2, 2);
    expect(concurrencyUtilization).toBe(50); // its own permit of two
  });
});
