import { createHmac, randomUUID } from 'node:crypto';
import { Maintenance } from '../../src/maintenance/maintenance';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { expectProblem } from '../support/problem';
import {
  EVENTS,
  eventWith,
  goodClaims,
  TEST_AUTH,
  TestService,
  tokenOf,
} from '../support/test-service';
import { until } from '../integration/until.fixture';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start({ AUDIT_REVISION: 'abc123' });
});

afterAll(async () => {
  await service?.stop();
  delete process.env.AUDIT_REVISION;
});

/** The value of each label of a series, and the value without labels as ''. */
async function valuesOf(name: string): Promise<Record<string, number>> {
  const { text } = await service.get('/metrics');
  const values: Record<string, number> = {};
  for (const [, label = '', value] of text.matchAll(
    new RegExp(`^${name}(?:\\{\\w+="([^"]*)"\\})? (\\S+)$`, 'gm'),
  )) {
    values[label] = Number(value);
  }
  return values;
}

/** What a step adds to a series, by label. */
async function added(name: string, step: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await valuesOf(name);
  await step();
  const after = await valuesOf(name);
  return Object.fromEntries(
    Object.entries(after)
      .map(([label, value]) => [label, value - (before[label] ?? 0)] as const)
      .filter(([, difference]) => difference !== 0),
  );
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function forge(header: object, claims: object, secret = TEST_AUTH.AUTH_JWT_SECRET): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

describe('requests that are not authenticated', () => {
  const name = 'audit_auth_failures_total';
  const header = { alg: 'HS256', typ: 'JWT' };
  const seconds = () => Math.floor(Date.now() / 1000);
  const tokens: Record<string, () => string | undefined> = {
    missing: () => undefined,
    malformed: () => 'not.a.token',
    signature: () => forge(header, goodClaims(), 'another secret of more than 32 bytes'),
    algorithm: () => forge({ alg: 'RS256' }, goodClaims()),
    expired: () => forge(header, { ...goodClaims(), exp: seconds() - 60 }),
    not_yet_valid: () => forge(header, { ...goodClaims(), nbf: seconds() + 600 }),
    issuer: () => forge(header, { ...goodClaims(), iss: 'https://other.example' }),
    audience: () => forge(header, { ...goodClaims(), aud: 'other' }),
    claims: () => forge(header, { ...goodClaims(), sub: '' }),
  };

  it.each(Object.keys(tokens))('are counted as %s, once over every protocol', async (reason) => {
    const token = tokens[reason]?.();
    const ask = (method: string, path: string, body?: unknown) =>
      service.request(method, path, { token, body });
    const graphql = { query: '{ cacheStats { hitRatio } }' };
    const procedure = 'performance.bulkCreateAuditEvents';
    const found = await added(name, async () => {
      expectProblem(await ask('GET', EVENTS), 401, 'UNAUTHENTICATED'); // fast path
      await ask('POST', EVENTS, eventWith());
      await ask('GET', `${EVENTS}/stream`);
      await ask('GET', `${EVENTS}/tail`);
      await ask('POST', '/graphql', graphql);
      await ask('GET', '/trpc/performance.getMetrics');
      await ask('GET', '/trpc/performance.getMetrics,performance.getAlerts?batch=1');
      await ask('POST', `/trpc/${procedure},${procedure}?batch=1`, { 0: {}, 1: {} });
    });
    expect(found).toEqual({ [reason]: 8 });
  });

  it('are counted over WebSockets, too', async () => {
    const found = await added(name, async () => {
      const subscriber = GraphqlSubscriber.open(
        service.url,
        { authorization: 'Bearer nonsense' },
        '{ cacheStats { hitRatio } }',
      );
      await until(() => subscriber.ending !== undefined);
    });
    expect(found).toEqual({ malformed: 1 });
  });

  it('are not those that lack a scope or an organization', async () => {
    const found = await added(name, async () => {
      const token = await tokenOf({ scope: 'audit:read', organizations: ['org-1'] });
      expectProblem(await service.post(EVENTS, token, eventWith()), 403, 'FORBIDDEN');
      expectProblem(await service.get(`${EVENTS}?organization_ids=x`, token), 403, 'FORBIDDEN');
    });
    expect(found).toEqual({});
  });
});

it('duplicates and replays are counted, each as what it is', async () => {
  const token = await tokenOf();
  const event = eventWith({ id: randomUUID(), organizationId: 'org-1' });
  const key = { 'idempotency-key': randomUUID() };
  const twice = { events: [event, event, eventWith({ organizationId: 'org-1' })] };
  const duplicates = await added('audit_writer_duplicate_events_total', async () => {
    expect((await service.post(`${EVENTS}/bulk`, token, twice, key)).status).toBe(201);
    expect((await service.post(EVENTS, token, event)).status).toBe(200);
  });
  expect(duplicates).toEqual({ '': 2 });
  const replays = await added('audit_writer_replayed_requests_total', async () => {
    expect(
      await added('audit_writer_duplicate_events_total', () =>
        service.post(`${EVENTS}/bulk`, token, twice, key),
      ),
    ).toEqual({});
  });
  expect(replays).toEqual({ '': 1 });
});

it('an export from a position that is not there is refused, and has not failed', async () => {
  const token = await tokenOf({ scope: 'audit:read audit:write audit:export' });
  const { json } = await service.post(EVENTS, token, eventWith({ organizationId: 'org-1' }));
  const query = new URLSearchParams({
    organization_ids: 'org-1',
    sort_field: 'sequence',
    after_id: json.id,
    after_timestamp: json.timestamp,
    after_recorded_at: '2020-01-01T00:00:00Z',
  });
  const found = await added('audit_exports_total', async () => {
    expectProblem(
      await service.get(`${EVENTS}/stream?${query.toString()}`, token),
      409,
      'TIMELINE_CHANGED',
    );
  });
  expect(found).toEqual({ refused: 1 });
});

it('each task of maintenance has the time of its last success, and a failed one keeps it', async () => {
  const name = 'audit_maintenance_last_success_timestamp_seconds';
  const tasks = ['expired_rows', 'leftover_indexes', 'partitions', 'retention'];
  // Without an interval too: that no other replica does them shows here.
  expect(await valuesOf(name)).toEqual(Object.fromEntries(tasks.map((task) => [task, 0])));
  const maintenance = service.provider(Maintenance);
  const earliest = Date.now() / 1000 - 1;
  await maintenance.run();
  const first = await valuesOf(name);
  expect(Object.keys(first).sort()).toEqual(tasks);
  for (const value of Object.values(first)) expect(value).toBeGreaterThan(earliest);

  const admin = await service.connect();
  await admin.query('ALTER TABLE idempotency_record RENAME TO hidden_record');
  await maintenance.run();
  await admin.query('ALTER TABLE hidden_record RENAME TO idempotency_record');
  await admin.end();
  const second = await valuesOf(name);
  expect(second.expired_rows).toBe(first.expired_rows);
  for (const task of tasks.filter((one) => one !== 'expired_rows')) {
    expect(second[task]).toBeGreaterThan(first[task] ?? Infinity);
  }
});

it('tells what runs', async () => {
  const { text } = await service.get('/metrics');
  expect(text).toContain(
    `audit_build_info{version="0.1.0",revision="abc123",node="${process.versions.node}"} 1`,
  );
});
