import { once } from 'node:events';
import { AlertState } from '../../src/metrics/alert-state';
import { until } from '../integration/until.fixture';
import type { GraphqlSubscriber } from '../support/graphql-subscriber';
import { closeOf, newOrganization, reader, RECORDED, SocketStage } from '../support/socket-stage';
import { EVENTS, eventWith, tokenOf } from '../support/test-service';

const OPERATOR = { scope: 'performance:read performance:manage', organizations: ['*'] };

let stage: SocketStage;

beforeAll(async () => {
  stage = await SocketStage.start();
});
afterEach(() => stage.clear());
afterAll(() => stage?.service.stop());

async function record(organizationId: string, count: number, members: object = {}) {
  const token = await tokenOf({ organizations: [organizationId] });
  const events = Array.from({ length: count }, () => eventWith({ organizationId, ...members }));
  const answer = await stage.service.post(`${EVENTS}/bulk`, token, { events });
  expect(answer.status).toBe(201);
}

const eventsOf = ({ data }: GraphqlSubscriber) =>
  data.map(({ auditEventRecorded }) => auditEventRecorded as Record<string, unknown>);
const sequencesOf = (subscriber: GraphqlSubscriber) =>
  eventsOf(subscriber).map(({ sequence }) => Number(sequence));
const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe('auditEventRecorded', () => {
  it('delivers from a sequence on each recorded event, while it catches up and afterwards, each once', async () => {
    const organization = newOrganization();
    await record(organization, 700);
    const writing = (async () => {
      for (let round = 0; round < 30; round += 1) await record(organization, 20);
    })();
    const token = await reader([organization]);
    const subscribers = ['0', '350', '699'].map((after) =>
      stage.subscribe(token, RECORDED, { after }),
    );
    await writing;
    await until(() => subscribers.every((each) => sequencesOf(each).at(-1) === 1300));
    await record(organization, 1);
    await until(() => subscribers.every((each) => sequencesOf(each).at(-1) === 1301));
    expect(subscribers.map(sequencesOf)).toEqual([upTo(1301), upTo(1301, 351), upTo(1301, 700)]);
  });

  it('shows each organization to its own readers only, and only matching events', async () => {
    const [mine, others] = [newOrganization(), newOrganization()];
    const filter = { actions: ['wanted'], statuses: ['FAILURE'] };
    const subscriber = stage.subscribe(await reader([mine]), RECORDED, { filter, after: '0' });
    await record(others, 5, { action: 'wanted', status: 'failure' });
    await record(mine, 1, { action: 'unwanted', status: 'failure' });
    await record(mine, 1, { action: 'wanted', status: 'success' });
    await record(mine, 1, { action: 'wanted', status: 'failure' });
    await until(() => subscriber.data.length > 0);
    await record(mine, 1, { action: 'wanted', status: 'failure' });
    await until(() => subscriber.data.length > 1);
    expect(sequencesOf(subscriber)).toEqual([3, 4]);
    expect(eventsOf(subscriber).every(({ organizationId }) => organizationId === mine)).toBe(true);
  });

  it('keeps the digits of numbers', async () => {
    const organization = newOrganization();
    const socket = await stage.connected(await reader([organization]));
    const payload = { query: RECORDED, variables: { after: '0' } };
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    const metadata = '{"n":[-9218868437227405312,1.0,1E3]}';
    const body = `{"organizationId":"${organization}","action":"a","status":"success","metadata":${metadata}}`;
    const [message] = await Promise.all([
      once(socket, 'message'),
      stage.service.post(EVENTS, await tokenOf({ organizations: [organization] }), body),
    ]);
    expect(String(message[0])).toContain(`"metadata":${metadata}`);
  });

  it('refuses unsupported arguments', async () => {
    const token = await reader([newOrganization()]);
    const refused = async (variables: object, own = token) => {
      const subscriber = stage.subscribe(own, RECORDED, variables as Record<string, unknown>);
      await until(() => subscriber.isOver);
      expect(subscriber.data).toEqual([]);
      return subscriber.codes;
    };
    expect(await refused({ after: '-1' })).toEqual(['INVALID_CURSOR']);
    expect(await refused({ filter: { organizationIds: ['org-of-others'] } })).toEqual([
      'FORBIDDEN',
    ]);
    expect(await refused({ filter: { dateRange: { startDate: 'never' } } })).toEqual([
      'VALIDATION_FAILED',
    ]);
    const empty = { startDate: '2026-02-01', endDate: '2026-02-01' };
    expect(await refused({ filter: { dateRange: empty } })).toEqual(['VALIDATION_FAILED']);
    expect(await refused({}, await reader(['org-1'], { scope: 'performance:read' }))).toEqual([
      'FORBIDDEN',
    ]);
  });
});

describe('a subscription of a token that expires', () => {
  it.each([RECORDED, 'subscription { performanceMetricsUpdated { timestamp } }'])(
    'ends with an error, and its socket closes: %s',
    async (query) => {
      const exp = Math.floor(Date.now() / 1000) + 2;
      const scope = 'audit:read performance:read';
      const socket = await stage.connected(await reader([newOrganization()], { exp, scope }));
      const messages: unknown[] = [];
      socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
      socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query } }));
      expect(await closeOf(socket)).toBe(4401);
      expect(messages.at(-1)).toMatchObject({
        id: '1',
        type: 'error',
        payload: [{ extensions: { code: 'UNAUTHENTICATED' } }],
      });
    },
  );
});

/** One alert of high severity and one of low, raised at once and over at once. */
function raiseAndResolve(board: AlertState): void {
  for (const level of ['breach', 'ok'] as const) {
    for (const [type, severity] of [
      ['HIGH_MEMORY', 'HIGH'],
      ['LOW_CACHE_HIT_RATIO', 'LOW'],
    ] as const) {
      const words = { title: 't', description: 'd', source: 's', metadata: {} };
      board.apply({ type, severity, level, ...words, raiseAfter: 1, resolveAfter: 1 });
    }
  }
}

describe('subscriptions of operators', () => {
  it('performanceMetricsUpdated gives figures again and again, at most once a second', async () => {
    const token = await reader(['*'], OPERATOR);
    const query = 'subscription { performanceMetricsUpdated { timestamp } }';
    const subscriber = stage.subscribe(token, query);
    await until(() => subscriber.data.length >= 3);
    const times = subscriber.data.map(({ performanceMetricsUpdated: { timestamp } }) =>
      Date.parse(timestamp as string),
    );
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? Infinity));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(900);
  });

  it('performanceAlert gives alerts of a severity as they are raised and end', async () => {
    const query =
      'subscription ($s: AlertSeverity) { performanceAlert(severity: $s) { severity resolvedAt } }';
    const token = await reader(['*'], OPERATOR);
    const high = stage.subscribe(token, query, { s: 'HIGH' });
    const all = stage.subscribe(token, query);
    await until(() => stage.active === 2);
    raiseAndResolve(stage.service.provider(AlertState));
    await until(() => all.data.length === 4 && high.data.length === 2);
    expect(high.data.map(({ performanceAlert: { severity } }) => severity as string)).toEqual([
      'HIGH',
      'HIGH',
    ]);
    expect(high.data.map(({ performanceAlert: { resolvedAt } }) => resolvedAt !== null)).toEqual([
      false,
      true,
    ]);
  });

  it('cacheInvalidated gives those of a pattern to principals that see all of their organizations', async () => {
    const query = `subscription ($p: String) { cacheInvalidated(pattern: $p) { pattern } }`;
    const see = async (organizations: string[], p?: string) =>
      stage.subscribe(await reader(organizations, { scope: 'performance:read' }), query, { p });
    const mine = await see(['org-1']);
    const others = await see(['org-2']);
    const both = await see(['org-1', 'org-2']);
    const events = await see(['*'], 'audit_events*');
    await until(() => stage.active === 4);
    const manage = (organizations: string[], pattern: string) =>
      tokenOf({ ...OPERATOR, organizations }).then((token) =>
        stage.service.request('DELETE', `/api/v1/performance/cache?pattern=${pattern}`, { token }),
      );
    await manage(['org-1'], 'audit_events*');
    await manage(['org-1'], 'other*');
    await manage(['org-2'], 'audit_events_by_id*');
    await manage(['org-1', 'org-2'], 'both*');
    await manage(['*'], 'everything*');
    for (const organization of ['org-1', 'org-2']) await manage([organization], 'last*');
    const patterns = ({ data }: GraphqlSubscriber) =>
      data.map(({ cacheInvalidated: { pattern } }) => pattern as string);
    await until(() => [mine, others].every((each) => patterns(each).includes('last*')));
    await until(() => patterns(both).filter((pattern) => pattern === 'last*').length === 2);
    expect(patterns(mine)).toEqual(['audit_events*', 'other*', 'last*']);
    expect(patterns(others)).toEqual(['audit_events_by_id*', 'last*']);
    expect(patterns(both)).toEqual([
      'audit_events*',
      'other*',
      'audit_events_by_id*',
      'both*',
      'last*',
      'last*',
    ]);
    expect(patterns(events)).toEqual(['audit_events*', 'audit_events_by_id*']);
  });

  it('are closed to others, and count among the subscriptions of a principal', async () => {
    const query = 'subscription { performanceMetricsUpdated { timestamp } }';
    const other = stage.subscribe(await reader(['org-1']), query);
    await until(() => other.isOver);
    expect(other.codes).toEqual(['FORBIDDEN']);
    const token = await reader(['*'], { scope: 'performance:read audit:read' });
    const socket = await stage.connected(token);
    const answers: { id: string; payload?: any }[] = []; // eslint-disable-line @typescript-eslint/no-explicit-any -- messages of many shapes
    socket.on('message', (data: Buffer) => answers.push(JSON.parse(data.toString())));
    for (const [index, text] of [RECORDED, query, query, query].entries()) {
      const id = String(index);
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query: text } }));
    }
    await until(() => answers.some(({ payload }) => payload?.errors));
    const refused = answers.find(({ payload }) => payload?.errors);
    expect(refused?.payload.errors[0].extensions).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      retryAfter: 10,
    });
    socket.send(JSON.stringify({ id: '0', type: 'complete' }));
    await until(() => stage.active === 2);
  });
});
