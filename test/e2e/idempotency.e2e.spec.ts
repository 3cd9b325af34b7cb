import { randomUUID } from 'node:crypto';
import { expectProblem, pathsOf } from '../support/problem';
import { EVENTS, eventWith, TestService, tokenOf, type Answer } from '../support/test-service';

const BULK = `${EVENTS}/bulk`;

let service: TestService;

beforeAll(async () => {
  service = await TestService.start();
});

afterAll(() => service.stop());

/** An organization, a subject and a key that no other case uses. */
async function own() {
  const organizationId = `org-${randomUUID()}`;
  const token = await tokenOf({ sub: `sub-${organizationId}`, organizations: [organizationId] });
  return { organizationId, token, key: `key-${randomUUID()}` };
}

async function countOf(token: string): Promise<number> {
  return (await service.get(`${EVENTS}?include_total=true`, token)).json.pagination.total;
}

const withKey = (key: string) => ({ 'idempotency-key': key });

function expectReplay(again: Answer, first: Answer): void {
  expect({ status: again.status, text: again.text }).toEqual({
    status: first.status,
    text: first.text,
  });
  expect(again.headers.get('location')).toBe(first.headers.get('location'));
  expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
  expect(again.headers.get('idempotency-replayed')).toBe('true');
}

describe('the same Idempotency-Key and body', () => {
  it('gets the first response to a single event again, byte for byte', async () => {
    const { organizationId, token, key } = await own();
    const body = JSON.stringify(eventWith({ organizationId, metadata: { text: 'ü\u2028' } }));
    const first = await service.post(EVENTS, token, body, withKey(key));
    expect(first.status).toBe(201);
    expect(first.headers.has('idempotency-replayed')).toBe(false);
    expectReplay(await service.post(EVENTS, token, body, withKey(key)), first);
    expectReplay(
      await service.post('/api/v1/performance/audit/events', token, body, withKey(key)),
      first,
    );
    expect(await countOf(token)).toBe(1);
  });

  it('gets the first response to a bulk again, its measured times too', async () => {
    const { organizationId, token, key } = await own();
    const body = { events: [eventWith({ organizationId }), eventWith({ organizationId })] };
    const first = await service.post(BULK, token, body, withKey(key));
    expect(first.status).toBe(201);
    expectReplay(await service.post(BULK, token, body, withKey(key)), first);
    expect(await countOf(token)).toBe(2);
  });

  it('gets the response "exists already" again, with its status', async () => {
    const { organizationId, token, key } = await own();
    const event = eventWith({ organizationId, id: randomUUID() });
    await service.post(EVENTS, token, event);
    const first = await service.post(EVENTS, token, event, withKey(key));
    expect(first.status).toBe(200);
    expectReplay(await service.post(EVENTS, token, event, withKey(key)), first);
  });

  it('sent by many at once is carried out once; the others replay it or get 409 with Retry-After', async () => {
    const { organizationId, token, key } = await own();
    const event = eventWith({ organizationId });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => service.post(EVENTS, token, event, withKey(key))),
    );
    const created = answers.filter(({ status }) => status === 201);
    expect(created.filter(({ headers }) => !headers.has('idempotency-replayed'))).toHaveLength(1);
    expect(new Set(created.map(({ text }) => text)).size).toBe(1);
    for (const answer of answers.filter(({ status }) => status !== 201)) {
      expectProblem(answer, 409, 'CONFLICT');
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    }
    expect(await countOf(token)).toBe(1);
    expect(
      (await service.post(EVENTS, token, event, withKey(key))).headers.get('idempotency-replayed'),
    ).toBe('true');
  });
});

describe('an Idempotency-Key', () => {
  it('used for another body is IDEMPOTENCY_MISMATCH, and nothing is stored', async () => {
    const { organizationId, token, key } = await own();
    await service.post(EVENTS, token, eventWith({ organizationId }), withKey(key));
    const other = await service.post(
      EVENTS,
      token,
      eventWith({ organizationId, action: 'x' }),
      withKey(key),
    );
    expectProblem(other, 422, 'IDEMPOTENCY_MISMATCH');
    expect(await countOf(token)).toBe(1);
  });

  it('of a single event does not fit a bulk', async () => {
    const { organizationId, token, key } = await own();
    await service.post(EVENTS, token, eventWith({ organizationId }), withKey(key));
    const bulk = await service.post(
      BULK,
      token,
      { events: [eventWith({ organizationId })] },
      withKey(key),
    );
    expectProblem(bulk, 422, 'IDEMPOTENCY_MISMATCH');
    expect(await countOf(token)).toBe(1);
  });

  it('is the subject’s own: another may use the same one', async () => {
    const { organizationId, token, key } = await own();
    const other = await tokenOf({ sub: 'somebody else', organizations: [organizationId] });
    const first = await service.post(EVENTS, token, eventWith({ organizationId }), withKey(key));
    const second = await service.post(
      EVENTS,
      other,
      eventWith({ organizationId, action: 'x' }),
      withKey(key),
    );
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers.has('idempotency-replayed')).toBe(false);
    expect(await countOf(token)).toBe(2);
  });

  it('of a request that was refused is free for the corrected one', async () => {
    const { organizationId, token, key } = await own();
    const id = randomUUID();
    await service.post(EVENTS, token, eventWith({ organizationId, id }));
    const attempt = (members: object) =>
      service.post(EVENTS, token, eventWith({ organizationId, ...members }), withKey(key));
    expectProblem(await attempt({ status: 'no' }), 400, 'VALIDATION_FAILED');
    expectProblem(await attempt({ organizationId: 'org-foreign' }), 403, 'FORBIDDEN');
    expectProblem(await attempt({ id, action: 'x' }), 409, 'CONFLICT');
    const corrected = await attempt({});
    expect(corrected.status).toBe(201);
    expect(corrected.headers.has('idempotency-replayed')).toBe(false);
    expect(await countOf(token)).toBe(2);
  });

  it.each([
    ['empty', ''],
    ['of 256 characters', 'k'.repeat(256)],
    ['with a letter beyond ASCII', 'schlüssel'],
    ['with a tab', 'a\tb'],
  ])('that is %s is 400', async (_, key) => {
    const { organizationId, token } = await own();
    const answer = await service.post(EVENTS, token, eventWith({ organizationId }), withKey(key));
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toEqual(['Idempotency-Key']);
    expect(await countOf(token)).toBe(0);
  });

  it.each(['x', '~'.repeat(255), 'with "quotes", commas and spaces'])(
    'such as %s is taken',
    async (key) => {
      const { organizationId, token } = await own();
      const send = () => service.post(EVENTS, token, eventWith({ organizationId }), withKey(key));
      const first = await send();
      expect(first.status).toBe(201);
      expectReplay(await send(), first);
    },
  );
});
