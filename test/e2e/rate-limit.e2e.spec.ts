import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const LIMIT = 5;
const SETTINGS = {
  RATE_LIMIT_ENABLED: 'true',
  RATE_LIMIT_REQUESTS: String(LIMIT),
  RATE_LIMIT_WINDOW_SECONDS: '600',
};
const OFF = { RATE_LIMIT_ENABLED: 'false', REDIS_URL: '' };

/** Sends more requests than are allowed, one after the other; the answers. */
async function exhaust(send: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let sent = 0; sent <= LIMIT; sent += 1) answers.push(await send());
  return answers;
}

function expectLimited(answers: Answer[]): void {
  const remaining = answers.map(
    ({ headers }) => /r=(\d+);t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1],
  );
  expect(remaining).toEqual(['4', '3', '2', '1', '0', '0']);
  for (const { headers } of answers) {
    expect(headers.get('ratelimit-policy')).toBe(`"default";q=${LIMIT};w=600`);
  }
  const last = answers.pop() as Answer;
  expectProblem(last, 429, 'RATE_LIMITED');
  expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(500);
  expect(answers.every(({ status }) => status < 300)).toBe(true);
}

describe('the rate limit', () => {
  let service: TestService;
  let subjects = 0;
  const newToken = () => tokenOf({ sub: `subject-${(subjects += 1)}` });

  beforeAll(async () => {
    service = await TestService.start({ ...SETTINGS, REDIS_URL: '' });
  });

  afterAll(async () => {
    await service.stop();
    Object.assign(process.env, OFF);
  });

  it.each([
    ['cached pages', 'GET', EVENTS],
    ['pages through express', 'GET', `${EVENTS}?limit=5&accept=no`],
    ['single writes', 'POST', EVENTS],
    ['single writes through express', 'POST', `${EVENTS}?way=ordinary`],
  ])('holds for %s', async (_, method, path) => {
    const token = await newToken();
    const body = method === 'POST' ? eventWith() : undefined;
    const headers = path.includes('?')
      ? { accept: 'application/json;q=0.9, text/html;q=0.1' }
      : undefined;
    const send = () =>
      service.request(method, path.replace('&accept=no', ''), { token, body, headers });
    expectLimited(await exhaust(send));
  });

  it('is one for all routes of a principal, and each principal has his own', async () => {
    const [token, other] = [await newToken(), await newToken()];
    for (let sent = 0; sent < LIMIT - 1; sent += 1) await service.get(EVENTS, token);
    expect((await service.post(EVENTS, token, eventWith())).status).toBe(201);
    expect((await service.get(EVENTS, token)).status).toBe(429);
    expect((await service.get(EVENTS, other)).status).toBe(200);
    expect((await service.get('/health/live')).headers.get('ratelimit')).toBeNull();
  });

  it('counts a request once that the fast path falls through', async () => {
    const token = await newToken();
    const bad = await service.post(EVENTS, token, { nothing: 'good' });
    expect(bad.status).toBe(400);
    expect(bad.headers.get('ratelimit')).toMatch(/r=4;/);
  });
});

describe('without RATE_LIMIT_ENABLED', () => {
  it('nothing is counted', async () => {
    const service = await TestService.start(OFF);
    const token = await tokenOf();
    const answers = await exhaust(() => service.get(EVENTS, token));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(answers[0]?.headers.get('ratelimit')).toBeNull();
    await service.stop();
  });
});

describeWithPrivateRedis()('the rate limit of several replicas', () => {
  let redis: PrivateRedis;
  let replicas: TestService[];

  beforeAll(async () => {
    redis = await startPrivateRedis();
    const settings = { ...SETTINGS, REDIS_URL: redis.url };
    replicas = [await TestService.start(settings), await TestService.start(settings)];
  });

  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await redis.stop();
    Object.assign(process.env, OFF);
  });

  it('is one for all of them, and each counts alone while Redis is away', async () => {
    const token = await tokenOf({ sub: 'of-all' });
    let turn = 0;
    const alternately = () => replicas[(turn += 1) % 2].get(EVENTS, token);
    expectLimited(await exhaust(alternately));
    redis.pause();
    expect((await alternately()).status).toBe(200); // counted here from now on
    redis.resume();
    await until(async () => (await alternately()).status === 429);
  });
});
