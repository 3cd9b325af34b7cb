import { randomUUID } from 'node:crypto';
import { expectProblem } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start();
});

afterAll(() => service.stop());

describe('a token of one organization', () => {
  const mine = `org-${randomUUID()}`;
  const foreign = `org-${randomUUID()}`;
  let token: string;
  let foreignToken: string;
  let foreignId: string;
  const chosenId = randomUUID();

  beforeAll(async () => {
    token = await tokenOf({ organizations: [mine] });
    foreignToken = await tokenOf({ sub: 'bob', organizations: [foreign] });
    await service.post(EVENTS, token, eventWith({ organizationId: mine }));
    const { json } = await service.post(
      EVENTS,
      foreignToken,
      eventWith({ organizationId: foreign, action: 'secret' }),
    );
    foreignId = json.id;
    await service.post(
      EVENTS,
      foreignToken,
      eventWith({ organizationId: foreign, id: chosenId, metadata: { secret: 1 } }),
    );
  });

  it('sees and counts its own events only', async () => {
    const page = await service.get(`${EVENTS}?include_total=true`, token);
    expect(page.json.pagination.total).toBe(1);
    expect(eventsIn(page).map(({ organizationId }) => organizationId)).toEqual([mine]);
    expect(page.text).not.toContain(foreign);
    for (const filter of ['actions=secret', `resource_ids=${foreignId}`]) {
      const found = await service.get(`${EVENTS}?include_total=true&${filter}`, token);
      expect(found.json).toMatchObject({ data: [], pagination: { total: 0, hasNext: false } });
    }
  });

  it('gets the same response for a foreign event as for a missing one', async () => {
    const absent = await service.get(`${EVENTS}/${randomUUID()}`, token);
    const wordsOf = ({ json }: Answer) => ({ ...json, instance: '', requestId: '' });
    for (const id of [foreignId, chosenId, chosenId.toUpperCase()]) {
      const answer = await service.get(`${EVENTS}/${id}`, token);
      expectProblem(answer, 404, 'NOT_FOUND');
      expect(wordsOf(answer)).toEqual(wordsOf(absent));
    }
  });

  it('gets the same response for a foreign organization as for a missing one', async () => {
    const words = new Set<string>();
    for (const asked of [foreign, 'org-nobody-has', `${mine},${foreign}`, '*', `${mine},*`]) {
      for (const path of [
        `${EVENTS}?organization_ids=${asked}`,
        `${EVENTS}/${foreignId}?organization_ids=${asked}`,
      ]) {
        const answer = await service.get(path, token);
        expectProblem(answer, 403, 'FORBIDDEN');
        words.add(`${answer.json.detail}`);
      }
    }
    expect(words.size).toBe(1);
  });

  it.each([
    ['one that exists', foreign],
    ['one that does not', 'org-nobody-has'],
  ])('cannot write to %s', async (_, organizationId) => {
    const single = await service.post(EVENTS, token, eventWith({ organizationId }));
    expectProblem(single, 403, 'FORBIDDEN');
    const bulk = await service.post(`${EVENTS}/bulk`, token, {
      events: [eventWith({ organizationId })],
    });
    expectProblem(bulk, 403, 'FORBIDDEN');
    expect(single.json.detail).toBe(bulk.json.detail);
    const operator = await tokenOf({ organizations: ['*'] });
    const { json } = await service.get(
      `${EVENTS}?organization_ids=${organizationId}&actions=test.run&include_total=true`,
      operator,
    );
    expect(json.pagination.total).toBe(organizationId === foreign ? 1 : 0);
  });

  it('does not learn from an id whether a foreign organization has it', async () => {
    const answer = await service.post(
      EVENTS,
      token,
      eventWith({ organizationId: mine, id: foreignId, action: 'taken' }),
    );
    expect(answer.status).toBe(201);
    expect((await service.get(`${EVENTS}/${foreignId}`, token)).json.action).toBe('taken');
    expect((await service.get(`${EVENTS}/${foreignId}`, foreignToken)).json.action).toBe('secret');
  });

  it('does not learn of writes of others from the sequence', async () => {
    const before = (await service.post(EVENTS, token, eventWith({ organizationId: mine }))).json
      .sequence;
    await service.post(EVENTS, foreignToken, eventWith({ organizationId: foreign }));
    const after = (await service.post(EVENTS, token, eventWith({ organizationId: mine }))).json
      .sequence;
    expect(Number(after)).toBe(Number(before) + 1);
  });

  it('cannot use a cursor or a response of another', async () => {
    await service.post(EVENTS, foreignToken, eventWith({ organizationId: foreign }), {
      'idempotency-key': 'shared',
    });
    const replay = await service.post(EVENTS, token, eventWith({ organizationId: mine }), {
      'idempotency-key': 'shared',
    });
    expect(replay.json.organizationId).toBe(mine);
    const { json } = await service.get(`${EVENTS}?limit=1`, foreignToken);
    expectProblem(
      await service.get(`${EVENTS}?limit=1&cursor=${json.pagination.nextCursor}`, token),
      400,
      'INVALID_CURSOR',
    );
  });

  it('that is the operator’s * sees all, and narrows it as it likes', async () => {
    const operator = await tokenOf({ organizations: ['*'] });
    const both = await service.get(
      `${EVENTS}?organization_ids=${mine},${foreign}&limit=1000`,
      operator,
    );
    const seen = new Set(eventsIn(both).map(({ organizationId }) => organizationId));
    expect(seen).toEqual(new Set([mine, foreign]));
    const all = await service.get(`${EVENTS}?limit=1000`, operator);
    for (const organization of [mine, foreign]) expect(all.text).toContain(organization);
    expect((await service.get(`${EVENTS}/${chosenId}`, operator)).json.organizationId).toBe(
      foreign,
    );
  });

  it('with a list of no organizations sees an empty page and writes nothing', async () => {
    const none = await tokenOf({ organizations: [] });
    for (const sort of ['timestamp', 'sequence']) {
      const { json } = await service.get(`${EVENTS}?include_total=true&sort_field=${sort}`, none);
      expect(json).toEqual({
        data: [],
        pagination: {
          limit: 50,
          offset: 0,
          total: 0,
          totalIsExact: true,
          hasNext: false,
          hasPrevious: false,
        },
      });
    }
    expectProblem(await service.get(`${EVENTS}/${foreignId}`, none), 404, 'NOT_FOUND');
    expectProblem(await service.post(EVENTS, none, eventWith()), 403, 'FORBIDDEN');
  });

  it('without a claim of organizations is refused with the reason', async () => {
    const without = await tokenOf({ organizations: undefined });
    for (const path of [EVENTS, `${EVENTS}/${foreignId}`]) {
      const refused = await service.get(path, without);
      expectProblem(refused, 403, 'FORBIDDEN');
      expect(refused.json.detail).toContain('no claim that names organizations');
    }
    expectProblem(await service.post(EVENTS, without, eventWith()), 403, 'FORBIDDEN');
  });

  it('is not fooled by ids that look alike', async () => {
    for (const organizationId of [
      mine.toUpperCase(),
      `${mine} `,
      ` ${mine}`,
      `${mine}\t`,
      mine.normalize('NFD') + '\u0301',
    ]) {
      expectProblem(
        await service.post(EVENTS, token, eventWith({ organizationId })),
        403,
        'FORBIDDEN',
      );
    }
  });
});
