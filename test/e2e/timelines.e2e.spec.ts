import { createTRPCClient, httpSubscriptionLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { LogTimeline } from '../../src/audit/event/log-timeline';
import type { AppRouter } from '../../src/api/trpc/app-router';
import { until } from '../integration/until.fixture';
import { openExport, readAnswer } from '../support/export-client';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { loseEventsBehind } from '../support/lost-commits';
import { expectProblem } from '../support/problem';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { failureOfCall, trpcClient } from '../support/trpc-client';
import { allowEventChanges } from '../support/event-changes';

let service: TestService;
let admin: Client;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '', STREAMING_MAX_CONCURRENT: '20' });
  admin = await service.connect();
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

const newOrganization = () => `org-${randomUUID()}`;
const SCOPE = 'audit:read audit:write audit:export';
const reader = (...organizations: string[]) =>
  tokenOf({ sub: randomUUID(), organizations, scope: SCOPE });

async function record(organizationId: string, count: number, action = 'kept'): Promise<void> {
  const events = Array.from({ length: count }, () => eventWith({ organizationId, action }));
  const answer = await service.post(`${EVENTS}/bulk`, await reader(organizationId), { events });
  expect(answer.status).toBe(201);
}

async function tail(token: string, query = '', lastId?: string): Promise<TailClient> {
  const client = await TailClient.open(`${service.url}${EVENTS}/tail${query}`, {
    authorization: `Bearer ${token}`,
    ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
  });
  closing.push(() => client.close());
  return client;
}

const assignSequences = (events: { sequence?: unknown }[]) =>
  events.map((one) => Number(one.sequence));

const RECORDED = `subscription ($after: String, $at: String) {
  auditEventRecorded(afterSequence: $after, afterRecordedAt: $at) { sequence recordedAt action }
}`;

function socket(token: string, variables: Record<string, unknown> = {}): GraphqlSubscriber {
  const params = { authorization: `Bearer ${token}` };
  const subscriber = GraphqlSubscriber.open(service.url, params, RECORDED, variables);
  closing.push(() => subscriber.close());
  return subscriber;
}

/** The stock client of tRPC, which goes on by itself with the id of the last event. */
function trpcFeed(token: string, lastEventId?: string) {
  const client = createTRPCClient<AppRouter>({
    links: [
      httpSubscriptionLink({
        url: `${service.url}/trpc`,
        EventSource,
        eventSourceOptions: {
          fetch: (input, init) =>
            fetch(input, {
              ...init,
              headers: { ...init.headers, authorization: `Bearer ${token}` },
            }),
        },
      }),
    ],
  });
  const feed = {
    sequences: [] as number[],
    ids: [] as string[],
    kinds: [] as unknown[],
    isStarted: false,
  };
  const subscription = client.performance.auditEventRecorded.subscribe(
    lastEventId === undefined ? {} : { lastEventId },
    {
      onStarted: () => (feed.isStarted = true),
      onData: ({ id, data }) => {
        feed.sequences.push(Number(data.sequence));
        feed.ids.push(id);
      },
      onError: (error) => feed.kinds.push(error.data?.kind),
    },
  );
  closing.push(() => subscription.unsubscribe());
  return feed;
}

describe('a position beyond the end of the log', () => {
  it('is refused, as a number alone too, and says where', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 3);
    const answer = await service.get(`${EVENTS}/tail`, token, { 'last-event-id': '8' });
    expectProblem(answer, 409, 'TIMELINE_CHANGED');
    expect(answer.json.detail).toContain(`"${organization}"`);
    expect(answer.json.detail).toContain('event 8');
    expectProblem(
      await service.get(`${EVENTS}/tail?after_sequence=4`, token),
      409,
      'TIMELINE_CHANGED',
    );
    const end = await tail(token, '?after_sequence=3');
    await record(organization, 1);
    await until(() => end.messages.length === 1);
    expect(assignSequences(end.events)).toEqual([4]);
  });

  it('is refused of one of several organizations, and none of the others is named', async () => {
    const organizations = [newOrganization(), newOrganization()].sort();
    const [one = '', two = ''] = organizations;
    const token = await reader(...organizations);
    const client = await tail(token);
    await record(one, 3);
    await record(two, 3);
    await until(() => client.messages.length === 6);
    await loseEventsBehind(admin, two, 2);
    const answer = await service.get(`${EVENTS}/tail`, token, { 'last-event-id': client.lastId });
    expectProblem(answer, 409, 'TIMELINE_CHANGED');
    expect(answer.json.detail).toContain(two);
    expect(answer.json.detail).not.toContain(one);
  });
});

describe('a position that a loss has left ahead of the log', () => {
  const END = 'Its last event is 3.';
  const BY_SEQUENCE = { sort_field: 'sequence', sort_direction: 'asc' };
  const sort = { field: 'sequence', direction: 'asc' } as const;

  it('is refused by every protocol, with the number where the log ends now', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 8);
    const list = await service.get(
      `${EVENTS}?${new URLSearchParams({ ...BY_SEQUENCE, limit: '6' }).toString()}`,
      token,
    );
    const last = eventsIn(list)[5] ?? {};
    const cursor = String(list.json.pagination.nextCursor);
    await loseEventsBehind(admin, organization, 3);

    const details = new Map<string, string>();
    const rest = async (name: string, path: string, headers = {}) => {
      const answer = await service.get(`${EVENTS}${path}`, token, headers);
      expectProblem(answer, 409, 'TIMELINE_CHANGED');
      details.set(name, answer.json.detail as string);
    };
    const query = new URLSearchParams({ ...BY_SEQUENCE, cursor }).toString();
    await rest('list', `?${query}`);
    await rest('newest first', `?${await descendingCursor(organization, token)}`);
    await rest('export', `/stream?${query}`);
    await rest('after_sequence', '/tail?after_sequence=6');
    await rest('Last-Event-ID', '/tail', { 'last-event-id': '8' });

    const trpc = trpcClient(service.url, token).performance;
    const call = await failureOfCall(
      trpc.getOptimizedAuditEvents.query({ pagination: { cursor, sort } }),
    );
    details.set('tRPC list', call.message);
    const stream = await failureOfCall(
      (async () => {
        const events = await trpc.streamAuditEvents.query({ pagination: { cursor, sort } });
        for await (const event of events) expect(event).toBeUndefined();
      })(),
    );
    details.set('tRPC stream', stream.message);
    const feed = await new Promise<string>((resolve) => {
      const subscription = trpc.auditEventRecorded.subscribe(
        { lastEventId: '6' },
        { onError: ({ message }) => resolve(message) },
      );
      closing.push(() => subscription.unsubscribe());
    });
    details.set('tRPC feed', feed);

    const text = `query ($cursor: String) { optimizedAuditEvents(
      pagination: { cursor: $cursor, sort: { field: SEQUENCE, direction: ASC } }) { edges { cursor } } }`;
    const graphql = await service.post('/graphql', token, {
      query: text,
      variables: { cursor },
    });
    details.set('GraphQL list', graphql.json.errors[0].message as string);
    const following = socket(token, { after: '6' });
    await until(() => following.isOver);
    expect(following.codes).toEqual(['TIMELINE_CHANGED']);
    details.set('GraphQL socket', following.errors.map(({ message }) => message).join());

    for (const [name, detail] of details) expect(`${name}: ${detail}`).toContain(END);

    const named = new URLSearchParams({
      ...BY_SEQUENCE,
      after_id: String(last['id']),
      after_timestamp: String(last['timestamp']),
    });
    const gone = await service.get(`${EVENTS}/stream?${named.toString()}`, token);
    expectProblem(gone, 400, 'VALIDATION_FAILED');
    expect(gone.json.errors[0]).toMatchObject({
      path: 'after_id',
      message: expect.stringContaining(`the last event of "${organization}" is 3`),
    });
  });

  /** A cursor of the newest events first, made before they are lost. */
  async function descendingCursor(organization: string, token: string): Promise<string> {
    await record(organization, 5);
    const descending = { sort_field: 'sequence', sort_direction: 'desc' };
    const first = await service.get(
      `${EVENTS}?${new URLSearchParams({ ...descending, limit: '2' }).toString()}`,
      token,
    );
    await loseEventsBehind(admin, organization, 3);
    return new URLSearchParams({
      ...descending,
      cursor: String(first.json.pagination.nextCursor),
    }).toString();
  }
});

describe('feeds over a loss whose numbers were given again', () => {
  it('end on every protocol, when the head is back where it was before anybody looked', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    const everything = await tail(await reader('*'));
    const [sse, graphql, trpc] = [await tail(token), socket(token), trpcFeed(token)];
    await until(() => trpc.isStarted);
    await record(organization, 10, 'lost from 6 on');
    await until(
      () =>
        sse.messages.length === 10 && graphql.data.length === 10 && trpc.sequences.length === 10,
    );
    const lastId = sse.lastId;
    // In one go, as a pooler hides it: the next look finds a head that has moved on by one.
    await loseEventsBehind(admin, organization, 5);
    await record(organization, 6, 'given again');
    await until(() => sse.isOver && everything.isOver && graphql.isOver && trpc.kinds.length > 0);

    const problem = JSON.parse(sse.messages.at(-1)?.data ?? '') as { code: string; detail: string };
    expect(sse.messages.at(-1)?.event).toBe('error');
    expect(problem).toMatchObject({ code: 'TIMELINE_CHANGED', status: 409 });
    expect(problem.detail).toContain(organization);
    expect(graphql.codes).toEqual(['TIMELINE_CHANGED']);
    expect(trpc.kinds).toEqual(['TIMELINE_CHANGED']);
    expect(everything.messages.at(-1)?.data).toContain('TIMELINE_CHANGED');
    // Nothing of what was given again came before it.
    for (const numbers of [
      assignSequences(sse.events),
      trpc.sequences,
      assignSequences(events(graphql)),
    ]) {
      expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    // With the last id each is refused, and from one that is still there all of it comes.
    expectProblem(
      await service.get(`${EVENTS}/tail`, token, { 'last-event-id': lastId }),
      409,
      'TIMELINE_CHANGED',
    );
    const again = socket(token, { after: '10', at: events(graphql).at(-1)?.recordedAt });
    await until(() => again.isOver);
    expect([again.codes, again.data]).toEqual([['TIMELINE_CHANGED'], []]);
    const resumed = trpcFeed(token, trpc.ids.at(-1));
    await until(() => resumed.kinds.length > 0);
    expect([resumed.kinds, resumed.sequences]).toEqual([['TIMELINE_CHANGED'], []]);

    const rest = await tail(token, '', sse.messages[4]?.id);
    const others = socket(token, { after: '5', at: events(graphql)[4]?.recordedAt });
    await until(() => rest.messages.length === 6 && others.data.length === 6);
    for (const found of [rest.events, events(others)]) {
      expect(assignSequences(found)).toEqual([6, 7, 8, 9, 10, 11]);
      expect(new Set(found.map(({ action }) => action))).toEqual(new Set(['given again']));
    }
  });

  it('are in the metrics, an alert and the log', async () => {
    expect(service.provider(LogTimeline).statistics()).toMatchObject({
      rewinds: expect.any(Number),
      timeline: expect.any(Number),
    });
    await until(async () => {
      const operator = await tokenOf({ scope: 'performance:read' });
      const { json } = await service.get('/api/v1/performance/alerts', operator);
      return JSON.stringify(json).includes('EVENTS_LOST');
    });
  });

  it('end when a log is back to nothing, and when as many events are given again', async () => {
    const [empty, equal] = [newOrganization(), newOrganization()];
    const readers = [await tail(await reader(empty)), await tail(await reader(equal))];
    for (const organization of [empty, equal]) await record(organization, 3);
    await until(() => readers.every(({ messages }) => messages.length === 3));
    await loseEventsBehind(admin, empty, 0);
    await loseEventsBehind(admin, equal, 1);
    await record(equal, 2, 'given again');
    await until(() => readers.every(({ isOver }) => isOver));
    for (const { messages } of readers) {
      expect(messages.at(-1)?.data).toContain('TIMELINE_CHANGED');
      expect(messages.length).toBe(4);
    }
  });

  it('go on over a loss that took nothing that they had, and over one of others', async () => {
    const [mine, others] = [newOrganization(), newOrganization()];
    const token = await reader(mine);
    await record(mine, 3);
    await record(others, 3);
    const client = await tail(token, '?after_sequence=0');
    await until(() => client.messages.length === 3);
    await loseEventsBehind(admin, others, 1);
    await record(others, 4, 'given again');
    await record(mine, 1);
    await until(() => client.messages.length === 4);
    expect(assignSequences(client.events)).toEqual([1, 2, 3, 4]);
  });

  const events = (subscriber: GraphqlSubscriber) =>
    subscriber.data.map(
      ({ auditEventRecorded }) =>
        auditEventRecorded as { sequence: string; recordedAt: string; action: string },
    );
});

describe('lists by sequence that go on over a loss', () => {
  const IN_ORDER = 'sort_field=sequence&sort_direction=asc&limit=5';

  async function lose(organization: string): Promise<void> {
    await loseEventsBehind(admin, organization, 3);
    await record(organization, 7, 'given again');
  }

  it('are refused by REST, in both directions, also when the page was kept', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 10);
    const first = await service.get(`${EVENTS}?${IN_ORDER}`, token);
    const next = `${EVENTS}?${IN_ORDER}&cursor=${first.json.pagination.nextCursor}`;
    const second = await service.get(next, token);
    expect(eventsIn(second).map(({ sequence }) => sequence)).toEqual(['6', '7', '8', '9', '10']);
    const previous = `${EVENTS}?${IN_ORDER}&cursor=${second.json.pagination.previousCursor}`;
    expect((await service.get(previous, token)).status).toBe(200);
    await lose(organization);
    expectProblem(await service.get(next, token), 409, 'TIMELINE_CHANGED');
    expectProblem(await service.get(previous, token), 409, 'TIMELINE_CHANGED');
    await loseEventsBehind(admin, organization, 2);
    const answer = await service.get(next, token);
    expectProblem(answer, 409, 'TIMELINE_CHANGED');
    expect(answer.json.detail).toContain('event 5');
  });

  it('go on after the last remaining event, and by time after any', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 10);
    const byNumber = await service.get(`${EVENTS}?${IN_ORDER.replace('5', '3')}`, token);
    const byTime = `sort_field=timestamp&sort_direction=asc&limit=5`;
    const inTime = await service.get(`${EVENTS}?${byTime}`, token);
    await lose(organization);
    const cursor = (answer: typeof inTime) => String(answer.json.pagination.nextCursor);
    const rest = await service.get(
      `${EVENTS}?${IN_ORDER.replace('5', '9')}&cursor=${cursor(byNumber)}`.replace(
        'limit=9',
        'limit=3',
      ),
      token,
    );
    expect(eventsIn(rest).map(({ sequence }) => sequence)).toEqual(['4', '5', '6']);
    const later = await service.get(`${EVENTS}?${byTime}&cursor=${cursor(inTime)}`, token);
    expect(later.status).toBe(200);
    // All that happened behind that moment, though it has numbers that the reader has seen before.
    expect(eventsIn(later).map(({ sequence }) => sequence)).toEqual(['4', '5', '6', '7', '8']);
  });

  it('are refused by GraphQL and tRPC', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 10);
    const trpc = trpcClient(service.url, token).performance;
    const sort = { field: 'sequence', direction: 'asc' } as const;
    const page = await trpc.getOptimizedAuditEvents.query({ pagination: { limit: 5, sort } });
    const cursor = page.pagination.nextCursor;
    const query = `query ($after: String) {
      optimizedAuditEvents(pagination: { limit: 5, cursor: $after, sort: { field: SEQUENCE, direction: ASC } }) {
        edges { cursor node { sequence } } pageInfo { endCursor }
      }
    }`;
    const ask = (after?: string) =>
      service.post('/graphql', token, { query, variables: { after } });
    const connection = (await ask()).json.data.optimizedAuditEvents;
    expect((await ask(connection.edges[4].cursor)).json.errors).toBeUndefined();
    await lose(organization);
    const failure = await failureOfCall(
      trpc.getOptimizedAuditEvents.query({ pagination: { limit: 5, sort, cursor } }),
    );
    expect(failure.data).toMatchObject({ kind: 'TIMELINE_CHANGED', httpStatus: 409 });
    for (const after of [connection.edges[4].cursor, connection.pageInfo.endCursor] as string[]) {
      expect((await ask(after)).json.errors[0].extensions.code).toBe('TIMELINE_CHANGED');
    }
    expect((await ask(connection.edges[2].cursor)).json.errors).toBeUndefined();
    const stream = trpc.streamAuditEvents.query({ lastEventId: cursor, pagination: { sort } });
    const reading = (async () => {
      for await (const event of await stream) expect(event).toBeUndefined();
    })();
    expect((await failureOfCall(reading)).data?.kind).toBe('TIMELINE_CHANGED');
  });

  it('are refused as exports, before the first byte', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 10);
    const first = await service.get(`${EVENTS}?${IN_ORDER}`, token);
    const query = {
      sort_field: 'sequence',
      sort_direction: 'asc',
      format: 'ndjson',
      cursor: String(first.json.pagination.nextCursor),
    };
    const exported = async () => readAnswer((await openExport(service, token, query)).response);
    const before = await exported();
    expect(String(before.body).trim().split('\n')).toHaveLength(5);
    await lose(organization);
    const after = await exported();
    expect(after.status).toBe(409);
    expect(String(after.body)).toContain('TIMELINE_CHANGED');
    const sixth = eventsIn(first)[2] ?? {};
    const named = {
      ...query,
      cursor: undefined,
      after_id: sixth['id'],
      after_timestamp: sixth['timestamp'],
    };
    const text = new URLSearchParams(JSON.parse(JSON.stringify(named)) as Record<string, string>);
    const rest = await readAnswer((await openExport(service, token, String(text))).response);
    expect(String(rest.body).trim().split('\n')).toHaveLength(7);
  });

  it('are refused as exports behind an event that was sent again and has another number', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    const event = eventWith({
      organizationId: organization,
      id: randomUUID(),
      timestamp: '2026-11-01T10:00:00.000001Z',
    });
    await record(organization, 5);
    const stored = (await service.post(EVENTS, token, event)).json as Record<string, string>;
    await loseEventsBehind(admin, organization, 3);
    await record(organization, 4, 'given again');
    expect((await service.post(EVENTS, token, event)).json.sequence).toBe('8');
    const query = {
      sort_field: 'sequence',
      sort_direction: 'asc',
      format: 'ndjson',
      after_id: String(stored['id']),
      after_timestamp: String(stored['timestamp']),
    };
    const exported = async (more: Record<string, string>) =>
      readAnswer((await openExport(service, token, { ...query, ...more })).response);
    expect((await exported({ after_recorded_at: String(stored['recordedAt']) })).status).toBe(409);
    const now = (await service.get(`${EVENTS}/${String(stored['id'])}`, token))
      .json as typeof stored;
    expect((await exported({ after_recorded_at: String(now['recordedAt']) })).status).toBe(200);
    expect((await exported({})).status).toBe(200);
    const alone = await openExport(service, token, {
      format: 'ndjson',
      after_recorded_at: String(stored['recordedAt']),
    });
    expect((await readAnswer(alone.response)).status).toBe(400);
  });
});

describe('events removed by retention', () => {
  it('is no other timeline: feeds and cursors go on behind it', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    await record(organization, 10);
    const client = await tail(token, '?after_sequence=0');
    await until(() => client.messages.length === 10);
    const list = `${EVENTS}?sort_field=sequence&sort_direction=asc&limit=5`;
    const first = await service.get(list, token);
    // Retention moves the time on the head row, as of an event that is recorded later.
    await allowEventChanges(admin);
    await admin.query('DELETE FROM audit_event WHERE organization_id = $1 AND sequence <= 7', [
      organization,
    ]);
    await admin.query(
      `UPDATE audit_organization SET recorded_at = clock_timestamp() WHERE organization_id = $1`,
      [organization],
    );
    const ids = client.messages.map(({ id }) => id);
    const resumed = [await tail(token, '', ids[4]), await tail(token, '', ids[9])];
    await record(organization, 1);
    await until(() => client.messages.length === 11);
    await until(() => resumed[0]?.messages.length === 4 && resumed[1]?.messages.length === 1);
    expect(assignSequences(resumed[0]?.events ?? [])).toEqual([8, 9, 10, 11]);
    const next = await service.get(`${list}&cursor=${first.json.pagination.nextCursor}`, token);
    expect(eventsIn(next).map(({ sequence }) => sequence)).toEqual(['8', '9', '10', '11']);
  });

  it('does not hide that numbers were given again before', async () => {
    const organization = newOrganization();
    const token = await reader(organization);
    const client = await tail(token);
    await record(organization, 10);
    await until(() => client.messages.length === 10);
    const lastId = client.lastId;
    await client.close();
    await loseEventsBehind(admin, organization, 4);
    await record(organization, 8, 'given again');
    await allowEventChanges(admin);
    await admin.query(
      'DELETE FROM audit_event WHERE organization_id = $1 AND sequence BETWEEN 8 AND 11',
      [organization],
    );
    const answer = await service.get(`${EVENTS}/tail`, token, { 'last-event-id': lastId });
    expectProblem(answer, 409, 'TIMELINE_CHANGED');
  });
});
