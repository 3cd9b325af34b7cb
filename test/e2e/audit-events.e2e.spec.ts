import { randomUUID } from 'node:crypto';
import { expectProblem, expectTimed, pathsOf } from '../support/problem';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const BULK = `${EVENTS}/bulk`;
const PREFIXES = [EVENTS, '/api/v1/performance/audit/events'];

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ BULK_MAX_EVENTS: '50' });
  token = await tokenOf({ organizations: ['org-1', 'org-2'] });
});

afterAll(() => service.stop());

/** How many events an organization has; each case uses an organization of its own. */
async function countOf(organizationId: string): Promise<number> {
  const all = await tokenOf({ organizations: ['*'] });
  const path = `${EVENTS}?organization_ids=${organizationId}&include_total=true&limit=1`;
  return (await service.get(path, all)).json.pagination.total;
}

/** The first 48 bits of an id. */
const millisecondsIn = (id: string) => parseInt(id.replace('-', '').slice(0, 12), 16);

async function ownOrganization(): Promise<{ organizationId: string; token: string }> {
  const organizationId = `org-${randomUUID()}`;
  return { organizationId, token: await tokenOf({ organizations: [organizationId] }) };
}

describe('one event', () => {
  it('is answered with 201, its Location, all its members and the headers of every response', async () => {
    const answer = await service.post(EVENTS, token, eventWith());
    expect(answer.status).toBe(201);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.headers.get('location')).toBe(`${EVENTS}/${answer.json.id}`);
    expect(answer.headers.has('idempotency-replayed')).toBe(false);
    expectTimed(answer);
    const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(answer.json).toEqual({
      id: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      timestamp: instant,
      recordedAt: instant,
      sequence: expect.stringMatching(/^[1-9]\d*$/),
      organizationId: 'org-1',
      principalId: null,
      action: 'test.run',
      targetResourceType: null,
      targetResourceId: null,
      status: 'success',
      outcomeDescription: null,
      dataClassification: 'INTERNAL',
      correlationId: null,
      sessionContext: null,
      metadata: null,
    });
    expect(millisecondsIn(answer.json.id)).toBe(Date.parse(answer.json.timestamp));
  });

  it('made for an old timestamp has an id with its millisecond', async () => {
    const timestamp = '2003-05-06T07:08:09.123456+02:00';
    const { json } = await service.post(EVENTS, token, eventWith({ timestamp }));
    expect(json.timestamp).toBe('2003-05-06T05:08:09.123456Z');
    expect(millisecondsIn(json.id)).toBe(Date.parse(timestamp));
  });

  it.each(PREFIXES)('is written and read under %s', async (prefix) => {
    const created = await service.post(prefix, token, eventWith({ metadata: { n: 1 } }));
    expect(created.status).toBe(201);
    for (const path of [`${prefix}/${created.json.id}`, created.headers.get('location')]) {
      const read = await service.get(String(path), token);
      expect(read.status).toBe(200);
      expect(read.text).toBe(created.text);
      expectTimed(read);
    }
    const page = await service.get(
      `${prefix}?limit=1&sort_field=sequence&organization_ids=org-1`,
      token,
    );
    expect(page.text).toContain(created.text);
  });

  it('gets the next sequence of its organization', async () => {
    const own = await ownOrganization();
    const sequences: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      const { json } = await service.post(
        EVENTS,
        own.token,
        eventWith({ organizationId: own.organizationId }),
      );
      sequences.push(json.sequence);
    }
    expect(sequences).toEqual(['1', '2', '3']);
  });

  it('written by many at once leaves no gap in the sequence', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => service.post(EVENTS, mine, eventWith({ organizationId }))),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    const numbers = answers.map(({ json }) => Number(json.sequence)).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
  });

  it('is accepted up to five minutes ahead of the clock and refused beyond', async () => {
    const ahead = (ms: number) => eventWith({ timestamp: new Date(Date.now() + ms).toISOString() });
    expect((await service.post(EVENTS, token, ahead(280_000))).status).toBe(201);
    const refused = await service.post(EVENTS, token, ahead(320_000));
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(pathsOf(refused)).toEqual(['timestamp']);
  });

  it('that does not exist is 404, and a malformed id 400', async () => {
    expectProblem(await service.get(`${EVENTS}/${randomUUID()}`, token), 404, 'NOT_FOUND');
    expectProblem(await service.get(`${EVENTS}/nonsense`, token), 400, 'VALIDATION_FAILED');
  });

  it('is found by its id in any case of letters', async () => {
    const { json, text } = await service.post(EVENTS, token, eventWith());
    expect((await service.get(`${EVENTS}/${String(json.id).toUpperCase()}`, token)).text).toBe(
      text,
    );
  });
});

describe('a bulk request', () => {
  it('is answered with a receipt for each event, in order', async () => {
    const own = await ownOrganization();
    const events = ['a', 'b', 'c'].map((action) =>
      eventWith({ organizationId: own.organizationId, action }),
    );
    const answer = await service.post(BULK, own.token, { events, batchSize: 2 });
    expect(answer.status).toBe(201);
    expectTimed(answer);
    const receipt = (index: number) => ({
      index,
      id: expect.any(String),
      sequence: String(index + 1),
      status: 'created',
    });
    expect(answer.json).toEqual({
      created: 3,
      duplicates: 0,
      batches: 2,
      results: [receipt(0), receipt(1), receipt(2)],
      performance: {
        totalTime: expect.any(Number),
        averageTimePerEvent: expect.any(Number),
        concurrencyUtilization: expect.any(Number),
      },
    });
    for (const [index, { id }] of (answer.json.results as { id: string }[]).entries()) {
      const read = await service.get(`${EVENTS}/${id}`, own.token);
      expect(read.json).toMatchObject({ action: 'abc'[index], sequence: String(index + 1) });
    }
  });

  it('says how long it took and how much of the writing capacity was in use', async () => {
    const own = await ownOrganization();
    const events = Array.from({ length: 20 }, () =>
      eventWith({ organizationId: own.organizationId }),
    );
    const { json } = await service.post(BULK, own.token, { events });
    const { totalTime, averageTimePerEvent, concurrencyUtilization } = json.performance;
    expect(totalTime).toBeGreaterThan(0);
    expect(averageTimePerEvent).toBeCloseTo(totalTime / 20, 2); // each is rounded to a microsecond
    expect(concurrencyUtilization).toBeGreaterThan(0);
    expect(concurrencyUtilization).toBeLessThanOrEqual(100);
  });

  it('with bad events names each index and path and stores nothing', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const good = eventWith({ organizationId });
    const events = [
      good,
      { ...good, action: '', status: 'done' },
      good,
      { ...good, metadata: { a: [{ b: 'x\0' }] }, nonsense: 1 },
      'text',
      { ...good, sessionContext: { ipAddress: 7 } },
    ];
    const answer = await service.post(BULK, mine, { events });
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer).sort()).toEqual([
      'events[1].action',
      'events[1].status',
      'events[3].metadata.a[0].b',
      'events[3].nonsense',
      'events[4]',
      'events[5].sessionContext.ipAddress',
    ]);
    expect(await countOf(organizationId)).toBe(0);
  });

  it('with an event of a foreign organization is 403, names it and stores nothing', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const events = [eventWith({ organizationId }), eventWith({ organizationId: 'org-2' })];
    const answer = await service.post(BULK, mine, { events });
    expectProblem(answer, 403, 'FORBIDDEN');
    expect(pathsOf(answer)).toEqual(['events[1].organizationId']);
    expect(await countOf(organizationId)).toBe(0);
  });

  it('with an id that conflicts stores nothing and names it', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const id = randomUUID();
    await service.post(EVENTS, mine, eventWith({ organizationId, id }));
    const events = [
      eventWith({ organizationId }),
      eventWith({ organizationId, id, action: 'other' }),
    ];
    const answer = await service.post(BULK, mine, { events });
    expectProblem(answer, 409, 'CONFLICT');
    expect(pathsOf(answer)).toEqual(['events[1].id']);
    expect(await countOf(organizationId)).toBe(1);
  });

  it.each([
    ['no events', { events: [] }, 'events'],
    [
      'more than BULK_MAX_EVENTS',
      { events: Array.from({ length: 51 }, () => eventWith()) },
      'events',
    ],
    ['events missing', {}, 'events'],
    ['events that are no list', { events: {} }, 'events'],
    ['a batchSize of 0', { events: [eventWith()], batchSize: 0 }, 'batchSize'],
    ['a batchSize that is text', { events: [eventWith()], batchSize: '10' }, 'batchSize'],
    ['an unknown member', { events: [eventWith()], extra: true }, 'extra'],
  ])('with %s is 400', async (_, body, path) => {
    const answer = await service.post(BULK, token, body);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toContain(path);
  });

  it('as large as allowed is taken', async () => {
    const { organizationId, token: mine } = await ownOrganization();
    const events = Array.from({ length: 50 }, () => eventWith({ organizationId }));
    expect((await service.post(BULK, mine, { events })).json).toMatchObject({ created: 50 });
    expect(await countOf(organizationId)).toBe(50);
  });
});
