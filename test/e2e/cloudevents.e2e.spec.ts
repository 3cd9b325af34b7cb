import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { CloudEvent, HTTP, type Message } from 'cloudevents';
import { derivedUuid } from '../../src/platform/runtime/derived-uuid';
import { expectProblem, pathsOf } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const BULK = `${EVENTS}/bulk`;
const STRUCTURED = { 'content-type': 'application/cloudevents+json' };
const BATCH = { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' };
const MAX_EVENTS = 50;

let service: TestService;
let organizationId: string;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ BULK_MAX_EVENTS: String(MAX_EVENTS) });
});
afterAll(async () => {
  await service?.stop();
  delete process.env.BULK_MAX_EVENTS;
});

beforeEach(async () => {
  organizationId = `org-${randomUUID()}`;
  token = await tokenOf({ organizations: [organizationId] });
  await service.get(EVENTS, token); // from now on the fast path takes what it can
});

const foreign = (members: object = {}) => ({
  specversion: '1.0',
  id: randomUUID(),
  source: '/billing',
  type: 'invoice.approve',
  ...members,
});

const send = (path: string, event: unknown, headers: Record<string, string> = STRUCTURED) =>
  service.post(path, token, event, headers);

/** Sends what the stock SDK has made. */
function sendMessage({ headers, body }: Message, path = EVENTS): Promise<Answer> {
  return service.post(path, token, body, headers as Record<string, string>);
}

async function stored(): Promise<Record<string, unknown>[]> {
  const page = await service.get(`${EVENTS}?sort_field=sequence&sort_direction=asc`, token, {
    'cache-control': 'no-cache',
  });
  return eventsIn(page);
}

describe('a CloudEvent of the stock SDK', () => {
  it.each(['structured', 'binary'] as const)('is recorded in %s mode, once', async (mode) => {
    const event = new CloudEvent({
      id: 'b3f1c8',
      source: '/billing',
      type: 'invoice.approve',
      subject: 'Invoice/7',
      time: '2026-11-23T10:30:00.123Z',
      authid: 'user-1',
      outcome: 'failure',
      data: { amount: 12.5 },
    });
    const answer = await sendMessage(HTTP[mode](event));
    expect(answer.status).toBe(201);
    const id = derivedUuid(['cloudevents', '/billing', 'b3f1c8']);
    expect(answer.headers.get('location')).toBe(`${EVENTS}/${id}`);
    expect(answer.json).toMatchObject({
      id,
      organizationId,
      timestamp: '2026-11-23T10:30:00.123000Z',
      principalId: 'user-1',
      action: 'invoice.approve',
      targetResourceType: 'Invoice',
      targetResourceId: '7',
      status: 'failure',
      metadata: { source: '/billing', id: 'b3f1c8', data: { amount: 12.5 } },
      source: { service: '/billing' },
    });
    const again = await sendMessage(HTTP[mode](event));
    expect([again.status, again.text]).toEqual([200, answer.text]);
    expect(await stored()).toEqual([answer.json]);
  });

  it.each(['text', 'bytes'])('is recorded with data of %s', async (kind) => {
    const data = kind === 'text' ? 'plain text' : new Uint8Array([0, 255]);
    const datacontenttype = kind === 'text' ? 'text/plain' : 'application/octet-stream';
    const event = new CloudEvent({ source: '/x', type: 't', datacontenttype, data });
    const binary = await sendMessage(HTTP.binary(event));
    expect(binary.status).toBe(201);
    expect(binary.json.metadata).toMatchObject({
      datacontenttype,
      data_base64: Buffer.from(data as string).toString('base64'),
    });
  });
});

describe('one of our events as a CloudEvent', () => {
  it('is the same event, with each digit, whatever is sent', async () => {
    const event = `{"id":"${randomUUID()}","timestamp":"2026-11-23T10:30:00.123456789Z","organizationId":"${organizationId}","action":"a","status":"attempt","metadata":{"n":9223372036854775807,"d":1.50,"e":-1E3},"targets":[{"type":"T","id":null}]}`;
    const first = await send(EVENTS, event, {});
    expect(first.status).toBe(201);
    const attributes = {
      specversion: '1.0',
      id: first.json.id as string,
      source: `/organizations/${organizationId}`,
      type: 'a',
    };
    const structured = `${JSON.stringify(attributes).slice(0, -1)},"data":${first.text}}`;
    for (const answer of [
      await send(EVENTS, structured),
      await send(EVENTS, first.text, {
        'content-type': 'application/json',
        ...Object.fromEntries(Object.entries(attributes).map(([key, one]) => [`ce-${key}`, one])),
      }),
    ]) {
      expect([answer.status, answer.text]).toEqual([200, first.text]);
    }
    const batch = await send(BULK, `[${structured}]`, BATCH);
    expect(batch.json).toMatchObject({ created: 0, duplicates: 1 });
    const changed = await send(EVENTS, structured.replace('1.50', '1.51'));
    expectProblem(changed, 409, 'CONFLICT');
    expect(pathsOf(changed)).toEqual(['data.id']);
  });

  it('has the places of its faults in data', async () => {
    const id = randomUUID();
    const data = eventWith({ id, organizationId, status: 'bad', extra: 1 });
    const event = foreign({ id, source: `/organizations/${organizationId}`, data });
    const answer = await send(EVENTS, event);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toEqual(['data.extra', 'data.status']);
  });
});

describe('a batch', () => {
  it('is recorded as a bulk request is, once', async () => {
    const events = [foreign(), foreign({ data: 'x' }), foreign({ data: [1.5] })];
    const answer = await send(BULK, gzipSync(JSON.stringify(events)), {
      ...BATCH,
      'content-encoding': 'gzip',
    });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ created: 3, duplicates: 0 });
    expect((await stored()).map(({ metadata }) => metadata)).toEqual(events);
    const again = await send(`/api/v1/performance/audit/events/bulk`, events, BATCH);
    expect(again.json).toMatchObject({ created: 0, duplicates: 3 });
  });

  it('names every fault with its index, and stores nothing', async () => {
    const events = [
      foreign(),
      foreign({ type: undefined }),
      7,
      foreign({ type: 'x'.repeat(256), time: 'yesterday' }),
      foreign({ data: { a: 'b\0' } }),
      foreign({ organizationid: '*' }),
    ];
    const answer = await send(BULK, events, BATCH);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer).sort()).toEqual(
      ['[1].type', '[2]', '[3].time', '[3].type', '[4].data.a', '[5].organizationid'].sort(),
    );
    expect(await stored()).toEqual([]);
  });

  it('names faults that only the transaction finds', async () => {
    const event = foreign({ id: 'same' });
    expect((await send(EVENTS, event)).status).toBe(201);
    const conflict = await send(BULK, [foreign(), { ...event, type: 'other' }], BATCH);
    expectProblem(conflict, 409, 'CONFLICT');
    expect(pathsOf(conflict)).toEqual(['[1].id']);
    const other = await send(BULK, [foreign(), foreign({ organizationid: 'org-2' })], BATCH);
    expectProblem(other, 403, 'FORBIDDEN');
    expect(pathsOf(other)).toEqual(['[1].organizationid']);
  });

  it('has as many events as a bulk request may have', async () => {
    const events = Array.from({ length: MAX_EVENTS + 1 }, () => foreign());
    const answer = await send(BULK, events, BATCH);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.json.errors).toEqual([
      { path: '', message: `must be at most ${MAX_EVENTS} elements, not ${MAX_EVENTS + 1}` },
    ]);
    expect((await send(BULK, events.slice(1), BATCH)).status).toBe(201);
  });

  it.each([
    ['{}', 'VALIDATION_FAILED'],
    ['null', 'VALIDATION_FAILED'],
    ['[]', 'VALIDATION_FAILED'],
    ['[', 'MALFORMED_JSON'],
    ['[{}', 'MALFORMED_JSON'],
    ['[{},]', 'MALFORMED_JSON'],
    ['[{"a":x}]', 'MALFORMED_JSON'],
    ['[{}] 1', 'MALFORMED_JSON'],
    ['', 'MALFORMED_JSON'],
    ['[\xff]', 'MALFORMED_JSON'],
    ['[{"specversion":"1.0","specversion":"1.0"}]', 'VALIDATION_FAILED'],
    [`[${'['.repeat(100)}${']'.repeat(100)}]`, 'VALIDATION_FAILED'],
  ])('that is %s is refused', async (body, code) => {
    expectProblem(await send(BULK, Buffer.from(body, 'latin1'), BATCH), 400, code);
  });
});

describe('the mode of a request', () => {
  it.each<[string, string, Record<string, string>, number]>([
    ['a batch for one', EVENTS, BATCH, 415],
    ['one for a batch', BULK, STRUCTURED, 415],
    ['another format', EVENTS, { 'content-type': 'application/cloudevents+avro' }, 415],
    ['a format without a name', EVENTS, { 'content-type': 'application/cloudevents' }, 415],
    [
      'another charset',
      EVENTS,
      { 'content-type': 'application/cloudevents+json; charset=latin1' },
      415,
    ],
  ])('is refused for %s', async (_, path, headers, status) => {
    expectProblem(await send(path, foreign(), headers), status, 'UNSUPPORTED_MEDIA_TYPE');
    expect(await stored()).toEqual([]);
  });

  it('is binary by any header of an attribute that has to be there', async () => {
    const answer = await send(EVENTS, eventWith({ organizationId }), { 'ce-type': 'a%ff' });
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toEqual(['ce-type']);
    const missing = await send(EVENTS, '{"n":1.50}', { 'ce-type': 'a', 'ce-time': 'x' });
    expect(pathsOf(missing)).toEqual(['ce-specversion', 'ce-id', 'ce-source']);
  });

  it('is binary with percent-encoded attributes, which come once', async () => {
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': '1',
      'ce-source': '/x',
      'ce-type': 'ge%C3%B6ffnet%20%22%E2%82%AC%22',
    };
    const answer = await send(EVENTS, '{"n":1.50}', headers);
    expect(answer.json).toMatchObject({ action: 'geöffnet "€"' });
    expect(answer.text).toContain('"data":{"n":1.50}');
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const head = [
      `POST ${EVENTS} HTTP/1.1`,
      ...['Host: x', 'Connection: close', `Authorization: Bearer ${token}`],
      ...['Content-Type: application/json', 'Content-Length: 2', ...lines, 'CE-Type: other'],
    ].join('\r\n');
    const [twice] = await sendRaw(service.port, `${head}\r\n\r\n{}`);
    expect(pathsOf(twice)).toEqual(['ce-type']);
  });

  it('is binary without data', async () => {
    const headers = { 'ce-specversion': '1.0', 'ce-id': '2', 'ce-source': '/x', 'ce-type': 't' };
    const { status, json } = await send(EVENTS, '', headers);
    expect([status, 'data' in json.metadata]).toEqual([201, false]);
  });

  it.each(['{', '{},"id":"3"', '{} {}'])('is binary with a body that is not %s', async (body) => {
    const headers = { 'ce-specversion': '1.0', 'ce-id': '3', 'ce-source': '/x', 'ce-type': 't' };
    expectProblem(await send(EVENTS, body, headers), 400, 'MALFORMED_JSON');
  });
});

describe('the organization of an event', () => {
  it('is that of the attribute, else of the header, else of the token', async () => {
    const organizations = ['org-ü', 'org-2'].map((name) => `${name}-${randomUUID()}`);
    const [first = '', second = ''] = organizations;
    token = await tokenOf({ organizations });
    const header = { ...STRUCTURED, 'x-organization-id': encodeURIComponent(first) };
    expect((await send(EVENTS, foreign(), header)).json.organizationId).toBe(first);
    const attribute = await send(EVENTS, foreign({ organizationid: second }), header);
    expect(attribute.json.organizationId).toBe(second);
    const none = await send(EVENTS, foreign());
    expectProblem(none, 400, 'VALIDATION_FAILED');
    expect(pathsOf(none)).toEqual(['organizationid']);
    token = await tokenOf({ organizations: ['*'] });
    expectProblem(await send(BULK, [foreign()], BATCH), 400, 'VALIDATION_FAILED');
  });

  it.each([
    ['other', 403, 'FORBIDDEN'],
    ['%ff', 400, 'VALIDATION_FAILED'],
    ['*', 400, 'VALIDATION_FAILED'],
  ])('is not %s', async (name, status, code) => {
    const answer = await send(EVENTS, foreign(), { ...STRUCTURED, 'x-organization-id': name });
    expectProblem(answer, status, code);
  });

  it('needs a token that may write, and one with organizations', async () => {
    const event = foreign();
    token = await tokenOf({ organizations: [organizationId], scope: 'audit:read' });
    expectProblem(await send(EVENTS, event), 403, 'FORBIDDEN');
    token = await tokenOf({ organizations: undefined });
    const named = { ...event, organizationid: organizationId };
    expectProblem(await send(EVENTS, named), 403, 'FORBIDDEN');
    expectProblem(await service.request('POST', EVENTS, { body: event }), 401, 'UNAUTHENTICATED');
  });
});

describe('an Idempotency-Key', () => {
  it('gets the first answer again, for the same event alone', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const event = foreign();
    const first = await send(EVENTS, event, { ...STRUCTURED, ...key });
    const again = await send(EVENTS, event, { ...STRUCTURED, ...key });
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/x', ...key };
    const other = { 'idempotency-key': randomUUID() };
    const binary = (type: string) => send(EVENTS, {}, { ...headers, ...other, 'ce-type': type });
    expect((await binary('a')).status).toBe(201);
    expect((await binary('a')).headers.get('idempotency-replayed')).toBe('true');
    expectProblem(await binary('b'), 422, 'IDEMPOTENCY_MISMATCH');
  });
});
