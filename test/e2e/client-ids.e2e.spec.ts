import { randomUUID } from 'node:crypto';
import { expectProblem, pathsOf } from '../support/problem';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const BULK = `${EVENTS}/bulk`;
let service: TestService;

beforeAll(async () => {
  service = await TestService.start();
});

afterAll(() => service.stop());

/** How many events an organization has; each case uses an organization of its own. */
async function countOf(organizationId: string): Promise<number> {
  const all = await tokenOf({ organizations: ['*'] });
  const path = `${EVENTS}?organization_ids=${organizationId}&include_total=true&limit=1`;
  return (await service.get(path, all)).json.pagination.total;
}

async function ownOrganization(): Promise<{ organizationId: string; token: string }> {
  const organizationId = `org-${randomUUID()}`;
  return { organizationId, token: await tokenOf({ organizations: [organizationId] }) };
}

describe('an id chosen by the client', () => {
  const metadata = '{"b":{"y":1.50,"x":[100,0,-0]},"a":9223372036854775807}';
  const respelt = '{"a":9223372036854775807,"b":{"x":[1E+2,0.0,0],"y":15e-1}}';
  const withMetadata = (event: Record<string, unknown>, text: string) =>
    `${JSON.stringify(event).slice(0, -1)},"metadata":${text}}`;

  it('is stored once when it comes again, in any case and spelling of the same content', async () => {
    const own = await ownOrganization();
    const id = randomUUID();
    const event = eventWith({
      organizationId: own.organizationId,
      id,
      timestamp: '2026-01-02T03:04:05.6Z',
    });
    const first = await service.post(EVENTS, own.token, withMetadata(event, metadata));
    expect(first.status).toBe(201);
    expect(first.json.id).toBe(id);
    for (const again of [
      withMetadata(event, metadata),
      withMetadata({ ...event, id: id.toUpperCase() }, respelt),
      withMetadata(
        { ...event, timestamp: '2026-01-02T05:04:05.600000+02:00', principalId: null },
        respelt,
      ),
    ]) {
      const answer = await service.post(EVENTS, own.token, again);
      expect(answer.status).toBe(200);
      expect(answer.text).toBe(first.text);
      expect(answer.headers.get('location')).toBe(`${EVENTS}/${id}`);
    }
    expect(await countOf(own.organizationId)).toBe(1);
  });

  it.each([
    ['another member', { action: 'other' }, metadata],
    ['another timestamp', { timestamp: '2026-01-02T03:04:05.600001Z' }, metadata],
    ['a number one apart beyond 2^53', {}, metadata.replace('5807', '5806')],
    ['a member more', { correlationId: '' }, metadata],
    ['a session', { sessionContext: { sessionId: 's' } }, metadata],
    ['an array in another order', {}, metadata.replace('[100,0,-0]', '[0,100,0]')],
  ])('with %s is a conflict', async (_, change, text) => {
    const own = await ownOrganization();
    const event = eventWith({
      organizationId: own.organizationId,
      id: randomUUID(),
      timestamp: '2026-01-02T03:04:05.6Z',
    });
    expect((await service.post(EVENTS, own.token, withMetadata(event, metadata))).status).toBe(201);
    const answer = await service.post(
      EVENTS,
      own.token,
      withMetadata({ ...event, ...change }, text),
    );
    expectProblem(answer, 409, 'CONFLICT');
    expect(pathsOf(answer)).toEqual(['id']);
    expect(await countOf(own.organizationId)).toBe(1);
  });

  it('twice in one bulk is stored once, or is a conflict when the content differs', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const event = eventWith({ organizationId, id: randomUUID() });
    const same = await service.post(BULK, mine, {
      events: [event, eventWith({ organizationId }), event],
    });
    expect(same.json).toMatchObject({ created: 2, duplicates: 1 });
    const [first, , third] = same.json.results;
    expect(third).toEqual({ ...first, index: 2, status: 'duplicate' });
    const other = { ...event, id: randomUUID() };
    const differing = await service.post(BULK, mine, {
      events: [other, { ...other, action: 'x' }],
    });
    expectProblem(differing, 409, 'CONFLICT');
    expect(pathsOf(differing)).toEqual(['events[1].id']);
    expect(await countOf(organizationId)).toBe(2);
  });

  it('comes again in a bulk as a duplicate with the receipt of the first', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const event = eventWith({ organizationId, id: randomUUID() });
    const { json: stored } = await service.post(EVENTS, mine, event);
    const { json } = await service.post(BULK, mine, {
      events: [eventWith({ organizationId }), event],
    });
    expect(json).toMatchObject({ created: 1, duplicates: 1 });
    expect(json.results[1]).toEqual({
      index: 1,
      id: stored.id,
      sequence: '1',
      status: 'duplicate',
    });
  });

  it('may be one that the service made: sent back it is a duplicate, changed a conflict', async () => {
    const own = await ownOrganization();
    const created = await service.post(
      EVENTS,
      own.token,
      eventWith({ organizationId: own.organizationId, metadata: { a: 1 } }),
    );
    const sent = { ...created.json, sequence: undefined, recordedAt: undefined };
    const again = await service.post(EVENTS, own.token, sent);
    expect({ status: again.status, text: again.text }).toEqual({ status: 200, text: created.text });
    const changed = await service.post(EVENTS, own.token, { ...sent, action: 'x' });
    expectProblem(changed, 409, 'CONFLICT');
    expect(await countOf(own.organizationId)).toBe(1);
  });

  it('belongs to its organization: another one may use it for something else', async () => {
    const [one, two] = [await ownOrganization(), await ownOrganization()];
    const id = randomUUID();
    for (const { organizationId, token: mine } of [one, two]) {
      const event = eventWith({ organizationId, id, action: `by ${organizationId}` });
      expect((await service.post(EVENTS, mine, event)).status).toBe(201);
      expect((await service.get(`${EVENTS}/${id}`, mine)).json.organizationId).toBe(organizationId);
    }
    const operator = await tokenOf({ organizations: ['*'] });
    const path = `${EVENTS}/${id}?organization_ids=${one.organizationId}`;
    expect((await service.get(path, operator)).json.organizationId).toBe(one.organizationId);
  });

  it.each([
    ['that tells its time', '01893d19-1000-7000-8000-'], // 2023-07-10T00:00:00.000Z
    ['that tells nothing', '01893d19-1000-4000-8000-'],
  ])(
    '%s and is in several organizations is refused until one of them is asked for',
    async (_, start) => {
      for (const order of ['ab', 'ba']) {
        const id = `${start}${randomUUID().slice(-12)}`;
        const names = [...order].map((letter) => `${letter}-${randomUUID()}`);
        const operator = await tokenOf({ organizations: ['*'] });
        const reader = await tokenOf({ organizations: names });
        for (const organizationId of names) {
          const event = eventWith({ organizationId, id, timestamp: '2023-07-10T00:00:00Z' });
          expect((await service.post(EVENTS, reader, event)).status).toBe(201);
        }
        for (const token of [operator, reader]) {
          expectProblem(await service.get(`${EVENTS}/${id}`, token), 409, 'CONFLICT');
          for (const name of names) {
            const chosen = await service.get(`${EVENTS}/${id}?organization_ids=${name}`, token);
            expect(chosen.json.organizationId).toBe(name);
          }
        }
        const absent = await service.get(`${EVENTS}/${id}?organization_ids=org-x`, operator);
        expectProblem(absent, 404, 'NOT_FOUND');
      }
    },
  );

  it('sent by many at once is stored once', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const event = eventWith({ organizationId, id: randomUUID() });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => service.post(EVENTS, mine, event)),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(19);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await countOf(organizationId)).toBe(1);
  });
});
