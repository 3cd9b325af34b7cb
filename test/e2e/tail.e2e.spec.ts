import { randomUUID } from 'node:crypto';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;
const open: TailClient[] = [];

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '', SUBSCRIPTIONS_MAX_PER_PRINCIPAL: '3' });
});

afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
});

afterAll(async () => {
  await service?.stop();
});

const newOrganization = () => `org-${randomUUID()}`;

/** A principal of its own, so that specs do not share a limit. */
const reader = (organizations: string[], claims: object = {}) =>
  tokenOf({ sub: randomUUID(), organizations, ...claims });

async function tail(token: string, query = '', headers: Record<string, string> = {}) {
  const url = `${service.url}${EVENTS}/tail${query}`;
  const client = await TailClient.open(url, { authorization: `Bearer ${token}`, ...headers });
  open.push(client);
  return client;
}

async function record(organizationId: string, count: number, members: object = {}) {
  const token = await tokenOf({ organizations: [organizationId] });
  const events = Array.from({ length: count }, () => eventWith({ organizationId, ...members }));
  const answer = await service.post(`${EVENTS}/bulk`, token, { events });
  expect(answer.status).toBe(201);
}

const sequencesOf = (client: TailClient) => client.events.map(({ sequence }) => Number(sequence));
const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe('a tail', () => {
  it('of everything is not cut by many events of many organizations in one commit', async () => {
    const client = await tail(await reader(['*']));
    const organizations = Array.from({ length: 50 }, newOrganization);
    const events = Array.from({ length: 8000 }, (_, index) =>
      eventWith({ organizationId: organizations[index % organizations.length] }),
    );
    const writer = await tokenOf({ organizations });
    expect((await service.post(`${EVENTS}/bulk`, writer, { events })).status).toBe(201);
    await until(() => client.messages.length === events.length || client.isOver);
    for (const organization of organizations) {
      const own = client.events.filter(({ organizationId }) => organizationId === organization);
      expect(own.map(({ sequence }) => Number(sequence))).toEqual(upTo(160));
    }
  });

  it('gives events as pages give them, from now on, in the order of their sequence', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    await record(organization, 3);
    const client = await tail(token);
    expect(client.response.status).toBe(200);
    expect(client.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(client.response.headers.get('cache-control')).toContain('no-store');
    await record(organization, 2, { metadata: { big: 1 } });
    await until(() => client.messages.length === 2);
    expect(client.messages.map(({ id }) => id?.replace(/\.[0-9a-z]{10}$/, ''))).toEqual(['4', '5']);
    const page = await service.get(`${EVENTS}?sort_field=sequence&sort_direction=asc`, token);
    expect(client.events).toEqual(eventsIn(page).slice(3));
  });

  it('goes on from Last-Event-ID, after_sequence and the beginning, with nothing left out or twice', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    await record(organization, 1200); // more than a page of the backfill
    const whole = await tail(token, '?after_sequence=0');
    await until(() => whole.messages.length === 1200);
    expect(sequencesOf(whole)).toEqual(upTo(1200));
    const rest = await tail(token, '?after_sequence=0', { 'last-event-id': '1197' });
    await record(organization, 2);
    await until(() => rest.messages.length === 5);
    expect(sequencesOf(rest)).toEqual(upTo(1202, 1198));
  });

  it('buffers events that are recorded while it catches up', async () => {
    const organization = newOrganization();
    await record(organization, 700);
    const writing = (async () => {
      for (let round = 0; round < 30; round += 1) await record(organization, 20);
    })();
    const clients = await Promise.all(
      ['?after_sequence=0', '?after_sequence=350', '?after_sequence=699'].map(async (query) =>
        tail(await reader([organization]), query),
      ),
    );
    await writing;
    await until(() => clients.every(({ lastId }) => lastId.startsWith('1300.')));
    expect(clients.map(sequencesOf)).toEqual([upTo(1300), upTo(1300, 351), upTo(1300, 700)]);
  });

  it('shows each organization to its own readers only, and only matching events', async () => {
    const [mine, others] = [newOrganization(), newOrganization()];
    const client = await tail(await reader([mine]), '?actions=wanted&statuses=failure');
    await record(others, 5, { action: 'wanted', status: 'failure' });
    await record(mine, 1, { action: 'unwanted', status: 'failure' });
    await record(mine, 1, { action: 'wanted', status: 'success' });
    await record(mine, 1, { action: 'wanted', status: 'failure' });
    await until(() => client.messages.length > 0);
    expect(sequencesOf(client)).toEqual([3]);
    expect(client.events.every(({ organizationId }) => organizationId === mine)).toBe(true);
  });

  it('lets the same events through live, from the past and in a page, whatever the filter', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    const pick = (values: unknown[], at: number) => values[at % values.length];
    const events = Array.from({ length: 120 }, (_, at) => ({
      ...eventWith({ organizationId: organization }),
      principalId: pick([null, 'user-1', 'user-2', 'a,b'], at),
      action: pick(['login', 'logout', 'Login'], at + 1),
      status: pick(['attempt', 'success', 'failure'], at >> 1),
      dataClassification: pick(['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'], at >> 2),
      targetResourceType: pick([null, 'Patient', 'Invoice'], at >> 1),
      targetResourceId: pick([null, 'pat-1', '7'], at >> 3),
      correlationId: pick([null, 'req-1'], at),
      timestamp: new Date(Date.UTC(2026, 9, 1 + (at % 30))).toISOString(),
    }));
    const filters = [
      'principal_ids=user-1,user-2',
      'principal_ids=a\\,b&statuses=success',
      'actions=login',
      'data_classifications=PHI,PUBLIC&resource_types=Patient',
      'resource_ids=7&correlation_ids=req-1',
      'start_date=2026-10-05&end_date=2026-10-07T00:00:00Z',
      'start_date=2026-10-11T02:00:00%2B02:00&statuses=failure,attempt',
      'actions=none',
    ];
    const live: TailClient[] = [];
    for (const filter of filters) {
      live.push(await tail(await reader([organization]), `?${filter}`));
    }
    await service.post(`${EVENTS}/bulk`, token, { events });
    for (const [at, filter] of filters.entries()) {
      const sorted = `${EVENTS}?limit=1000&sort_field=sequence&sort_direction=asc&${filter}`;
      const wanted = eventsIn(await service.get(sorted, token));
      const past = await tail(await reader([organization]), `?after_sequence=0&${filter}`);
      await until(() => [live[at], past].every((one) => one?.messages.length === wanted.length));
      expect(live[at]?.events).toEqual(wanted);
      expect(past.events).toEqual(wanted);
      if (filter !== 'actions=none') expect(wanted.length).toBeGreaterThan(0);
    }
  });

  it('of several organizations goes on in each where it stopped', async () => {
    const organizations = [newOrganization(), newOrganization(), newOrganization()];
    const [one = '', two = ''] = organizations;
    const token = await reader(organizations);
    const first = await tail(token);
    await record(one, 3);
    await record(two, 2);
    await until(() => first.messages.length === 5);
    await first.close();
    await record(one, 1);
    await record(two, 1);
    const second = await tail(token, '', { 'last-event-id': first.lastId });
    await until(() => second.messages.length === 2);
    const seen = [...first.events, ...second.events];
    for (const [organization, last] of [
      [one, 4],
      [two, 3],
    ] as const) {
      const own = seen.filter(({ organizationId }) => organizationId === organization);
      expect(own.map(({ sequence }) => Number(sequence))).toEqual(upTo(last));
    }
    const path = `${EVENTS}/tail?organization_ids=${one},${two}`;
    const answer = await service.get(path, token, { 'last-event-id': first.lastId });
    expectProblem(answer, 400, 'INVALID_CURSOR');
  });

  it('of an operator shows all organizations, new ones too', async () => {
    const organization = newOrganization();
    const client = await tail(await reader(['*']));
    await record(organization, 2);
    const own = () => client.events.filter((event) => event.organizationId === organization);
    await until(() => own().length === 2);
    expect(client.messages.every(({ id }) => id?.startsWith('all~'))).toBe(true);
  });

  it('takes a list with the parameter repeated', async () => {
    const organization = newOrganization();
    const client = await tail(await reader([organization]), '?actions=a,b&actions=c');
    for (const action of ['a', 'c', 'a,b']) await record(organization, 1, { action });
    await until(() => client.messages.length === 2);
    expect(client.events.map(({ action }) => action)).toEqual(['c', 'a,b']);
  });

  it('refuses unsupported arguments before it begins', async () => {
    const token = await reader([newOrganization()]);
    const get = (query: string, own = token) => service.get(`${EVENTS}/tail${query}`, own);
    expectProblem(await get('?organization_ids=org-of-others'), 403, 'FORBIDDEN');
    expectProblem(await get('?after_sequence=-1'), 400, 'INVALID_CURSOR');
    expectProblem(await get('?after_sequence=9999999999999999999'), 400, 'INVALID_CURSOR');
    expectProblem(await get('?statuses=maybe'), 400, 'VALIDATION_FAILED');
    expectProblem(await get('', await tokenOf({ scope: 'audit:write' })), 403, 'FORBIDDEN');
    const refused = await service.get(`${EVENTS}/tail`, token, { accept: 'image/png' });
    expectProblem(refused, 406, 'NOT_ACCEPTABLE');
  });

  it('ends with its token, and says so', async () => {
    const exp = Math.floor(Date.now() / 1000) + 2;
    const client = await tail(await reader([newOrganization()], { exp }));
    await until(() => client.isOver);
    expect(client.messages.map(({ event, data }) => [event, JSON.parse(data).code])).toEqual([
      ['error', 'UNAUTHENTICATED'],
    ]);
  });

  it('is one of a few of its principal, which are given back when a reader leaves', async () => {
    const token = await reader([newOrganization()]);
    const clients = await Promise.all([tail(token), tail(token), tail(token)]);
    const answer = await service.get(`${EVENTS}/tail`, token);
    expectProblem(answer, 503, 'TOO_MANY_REQUESTS');
    expect(answer.headers.get('retry-after')).toBe('10');
    await clients[0]?.close();
    await until(async () => {
      const again = await tail(token);
      return again.response.status === 200;
    });
  });
});
