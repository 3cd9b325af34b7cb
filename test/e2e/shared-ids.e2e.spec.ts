import { randomUUID } from 'node:crypto';
import { expectProblem } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventWith,
  listText,
  TestService,
  tokenOf,
} from '../support/test-service';
import { allowEventChanges } from '../support/event-changes';

const QUERY = 'query ($id: ID!, $o: String) { auditEvent(id: $id, organizationId: $o) { action } }';
const AT = '2026-01-02T03:04:05.600000Z';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start();
});

afterAll(() => service.stop());

const named = (id: string, organizationId: string) =>
  `${EVENTS}/${id}?organization_ids=${encodeURIComponent(listText([organizationId]))}`;

/** Two organizations, a reader of both and an operator, and how each writes and what an event of each says. */
async function stage() {
  const [mine, theirs] = [`a,org\\,-${randomUUID()}`, `b-org-${randomUUID()}`];
  const write = async (organizationId: string, members: Record<string, unknown>) =>
    service.post(
      EVENTS,
      await tokenOf({ organizations: [organizationId] }),
      eventWith({
        organizationId,
        action: organizationId === mine ? 'mine' : 'theirs',
        ...members,
      }),
    );
  const reader = await tokenOf({ sub: 'both', organizations: [theirs, mine] });
  const operator = await tokenOf({ sub: 'operator', organizations: ['*'] });
  return { mine, theirs, write, reader, operator };
}

function graphql(token: string, id: string, o?: string): Promise<Answer> {
  return service.post('/graphql', token, { query: QUERY, variables: { id, o } });
}

describe('an id that events of two organizations have', () => {
  const serverMade = async ({ mine, write }: Awaited<ReturnType<typeof stage>>) =>
    (await write(mine, {})).json as { id: string; timestamp: string };

  it.each([
    ['that clients chose', () => Promise.resolve({ id: randomUUID(), timestamp: AT }), true],
    [
      'that looks as if the service had made it, at its time',
      () =>
        Promise.resolve({
          id: '019b7ca9-8e10-7abc-8000-1234567890ab',
          timestamp: '2026-01-02T03:04:05.392Z',
        }),
      true,
    ],
    ['that the service made, copied at the same time', serverMade, false],
    [
      'that the service made, copied at another time',
      async (on: Awaited<ReturnType<typeof stage>>) => ({
        ...(await serverMade(on)),
        timestamp: AT,
      }),
      false,
    ],
  ])('%s is refused unless the organization is named', async (_, choose, isMineToWrite) => {
    const on = await stage();
    const { id, timestamp } = await choose(on);
    if (isMineToWrite) expect((await on.write(on.mine, { id, timestamp })).status).toBe(201);
    const alone = await service.get(`${EVENTS}/${id}`, on.reader);
    expect(alone.json.action).toBe('mine');
    expect((await on.write(on.theirs, { id, timestamp })).status).toBe(201);
    for (const token of [on.reader, on.operator]) {
      const refused = await service.get(`${EVENTS}/${id}`, token);
      expectProblem(refused, 409, 'CONFLICT');
      const [{ path, message }] = refused.json.errors;
      expect(path).toBe('organization_ids');
      expect(message).toContain(JSON.stringify(on.mine));
      expect(message).toContain(JSON.stringify(on.theirs));
      const inGraphql = await graphql(token, id);
      expect(inGraphql.json.errors[0].extensions).toMatchObject({
        code: 'CONFLICT',
        errors: [{ path: 'organizationId', message }],
      });
      for (const [organizationId, action] of [
        [on.mine, 'mine'],
        [on.theirs, 'theirs'],
      ] as const) {
        expect((await service.get(named(id, organizationId), token)).json.action).toBe(action);
        const { json } = await graphql(token, id, organizationId);
        expect(json.data.auditEvent.action).toBe(action);
      }
    }
  });

  it('learns of no organization but those of the token', async () => {
    const on = await stage();
    const id = randomUUID();
    for (const organizationId of [on.mine, on.theirs]) await on.write(organizationId, { id });
    const mineOnly = await tokenOf({ organizations: [on.mine, `c-${randomUUID()}`] });
    expect((await service.get(`${EVENTS}/${id}`, mineOnly)).json.action).toBe('mine');
    expect((await graphql(mineOnly, id)).json.data.auditEvent.action).toBe('mine');
    expectProblem(await service.get(named(id, on.theirs), mineOnly), 403, 'FORBIDDEN');
    const refused = await graphql(mineOnly, id, on.theirs);
    expect(refused.json.errors[0].extensions.code).toBe('FORBIDDEN');
  });

  it('is none once one of them is left', async () => {
    const on = await stage();
    const id = randomUUID();
    const { json } = await on.write(on.mine, { id, timestamp: AT });
    await on.write(on.theirs, { id, timestamp: AT });
    const client = await service.connect(); // as retention would, by month
    await allowEventChanges(client);
    await client.query('DELETE FROM audit_event WHERE organization_id = $1', [on.theirs]);
    await client.end();
    const found = await service.get(`${EVENTS}/${id}`, on.reader, { 'cache-control': 'no-cache' });
    expect(found.json).toEqual(json);
  });
});

it.each([
  ['an empty name', ''],
  ['a name that is too long', 'x'.repeat(256)],
])('GraphQL refuses %s', async (_, o) => {
  const { json } = await graphql(await tokenOf({ organizations: ['*'] }), randomUUID(), o);
  expect(json.errors[0].extensions).toMatchObject({
    code: 'VALIDATION_FAILED',
    errors: [{ path: 'organizationId' }],
  });
});
