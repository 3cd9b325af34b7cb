import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const LIST = '{ optimizedAuditEvents(useCache: false) { edges { node { id } } } }';
const WRITE =
  'mutation { createAuditEvent(event: { organizationId: "org-1", action: "late", status: SUCCESS }) { id } }';

describe('GraphQL while PostgreSQL is blocked', () => {
  let service: TestService;
  let blocker: Blocker;
  let token: string;

  beforeAll(async () => {
    service = await TestService.start({
      REQUEST_TIMEOUT_MS: '1000',
      CONCURRENCY_MAX_REQUESTS: '1',
      CONCURRENCY_QUEUE_SIZE: '1',
      DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    });
    blocker = await Blocker.connect(service.databaseUrl);
    token = await tokenOf();
    await service.post(EVENTS, token, eventWith());
  });
  afterEach(async () => {
    await blocker.unblock();
    await until(() => scheduler().active === 0);
  });
  afterAll(async () => {
    await blocker.close();
    await service.stop();
  });

  const scheduler = () => service.provider(FairScheduler).statistics();
  const ask = (query: string): Promise<Answer> => service.post('/graphql', token, { query });
  const codeOf = ({ json }: Answer): unknown =>
    (json as { errors: { extensions: { code: string } }[] }).errors[0]?.extensions.code;

  it('gives up a read at the deadline and cancels it in PostgreSQL', async () => {
    await blocker.blockReads();
    expect(codeOf(await ask(LIST))).toBe('REQUEST_TIMEOUT');
    await until(async () => (await blocker.busy()).length === 0);
  });

  it('gives up a write at the deadline without cancelling it: whether it is stored is not known', async () => {
    const before = await blocker.events();
    await blocker.blockWrites();
    expect(codeOf(await ask(WRITE))).toBe('DATABASE_UNAVAILABLE');
    await blocker.unblock();
    await until(async () => (await blocker.events()) === before + 1);
  });

  it('refuses requests beyond the queue, with Retry-After', async () => {
    await blocker.blockReads();
    const first = ask(LIST);
    await until(() => scheduler().active === 1);
    const second = ask(WRITE);
    await until(() => scheduler().queued === 1);
    const third = await ask(WRITE);
    expect(codeOf(third)).toBe('TOO_MANY_REQUESTS');
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThan(0);
    await Promise.all([first, second]);
  });

  it('cancels the work of a client that hangs up', async () => {
    await blocker.blockReads();
    const client = new AbortController();
    const asked = fetch(`${service.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query: LIST }),
      signal: client.signal,
    });
    await until(async () => (await blocker.busy()).length > 0);
    const { cancelled } = scheduler();
    client.abort();
    await expect(asked).rejects.toThrow();
    await until(() => scheduler().cancelled > cancelled);
    await until(async () => (await blocker.busy()).length === 0);
  });
});
