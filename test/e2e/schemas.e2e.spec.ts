import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { EventSchemas, MAX_STALE_MS } from '../../src/audit/schemas/event-schemas';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const SCHEMAS = '/api/v1/audit/schemas';
const BULK = `${EVENTS}/bulk`;
const ACTION = 'chart.open';

/** The schema of most tests: a closed `metadata` with a ward. */
const WARD = {
  type: 'object',
  required: ['metadata'],
  properties: {
    metadata: {
      type: 'object',
      required: ['ward'],
      properties: { ward: { type: 'string', pattern: '^[A-Z][0-9]$' }, beds: { type: 'integer' } },
      additionalProperties: false,
    },
  },
};
const GOOD = { action: ACTION, metadata: { ward: 'B2' } };
const BAD = { action: ACTION, metadata: { ward: 'B22' } };

let service: TestService;
let admin: Client;
let operator: string;
let count = 0;

beforeAll(async () => {
  service = await TestService.start({ STREAMING_SELF_AUDIT: 'true' });
  admin = await service.connect();
  operator = await tokenOf({
    organizations: ['*'],
    scope: 'audit:read audit:write schemas:manage',
  });
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
  delete process.env.STREAMING_SELF_AUDIT;
});

const newOrganization = () => `schemas-${(count += 1)}`;
const at = (organization: string, path = '') => `${SCHEMAS}${path}?organization_id=${organization}`;
const put = (path: string, body: unknown, token = operator) =>
  service.request('PUT', path, { token, body });

async function register(
  organization: string,
  schema: unknown,
  { action = ACTION, version = '1', ...members }: Record<string, string> = {},
): Promise<Answer> {
  const path = at(organization, `/${encodeURIComponent(action)}/${encodeURIComponent(version)}`);
  return put(path, { schema, ...members });
}

async function setMode(organization: string, mode: string): Promise<void> {
  const answer = await put(at(organization, '/mode'), { mode });
  expect([answer.status, answer.json.mode]).toEqual([200, mode]);
}

/** An organization whose events of ACTION need a ward. */
async function withWards(mode: string): Promise<string> {
  const organization = newOrganization();
  expect((await register(organization, WARD)).status).toBe(201);
  await setMode(organization, mode);
  return organization;
}

const post = (path: string, body: unknown, headers = {}) =>
  service.request('POST', path, { body, token: operator, headers });
const mutate = (query: string, variables: object) => post('/graphql', { query, variables });

const storedIn = async (organization: string): Promise<number> =>
  eventsIn(await service.get(`${EVENTS}?organization_ids=${organization}`, operator)).length;

interface Outcome {
  isStored: boolean;
  errors: { path: string; message: string }[];
}

const ofProblem = ({ status, json }: Answer): Outcome => {
  if (status >= 400) expect(json.code).toBe('VALIDATION_FAILED');
  return { isStored: status < 300, errors: json.errors ?? [] };
};
const ofGraphql = ({ json }: Answer): Outcome => {
  const [error] = json.errors ?? [];
  if (error) expect(error.extensions.code).toBe('VALIDATION_FAILED');
  return { isStored: !error, errors: error?.extensions.errors ?? [] };
};
const pathsIn = ({ json }: Answer) => (json.errors as { path: string }[]).map(({ path }) => path);
const upper = (event: object) => ({ ...event, status: 'SUCCESS' });

/** Ways to write one event, each with the path that it gives to a fault of the event. */
const WRITERS: Record<string, [(event: object) => Promise<Outcome>, string]> = {
  'a single write': [async (event) => ofProblem(await post(EVENTS, event)), ''],
  'a single write of the ordinary path': [
    async (event) => ofProblem(await post(`${EVENTS}?`, event)),
    '',
  ],
  'a bulk write': [async (event) => ofProblem(await post(BULK, { events: [event] })), 'events[0].'],
  NDJSON: [
    async (event) => {
      const { text } = await post(BULK, `${JSON.stringify(event)}\n`, {
        'content-type': 'application/x-ndjson',
      });
      const receipt = JSON.parse(text.split('\n')[0] ?? '') as Outcome & {
        status: string;
        code?: string;
      };
      if (receipt.status === 'rejected') expect(receipt.code).toBe('VALIDATION_FAILED');
      return { isStored: receipt.status !== 'rejected', errors: receipt.errors ?? [] };
    },
    '',
  ],
  GraphQL: [
    async (event) =>
      ofGraphql(
        await mutate(
          'mutation ($event: CreateAuditEventInput!) { createAuditEvent(event: $event) { id } }',
          { event: upper(event) },
        ),
      ),
    '',
  ],
  'GraphQL in bulk': [
    async (event) =>
      ofGraphql(
        await mutate(
          'mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) { created } }',
          { events: [upper(event)] },
        ),
      ),
    'events[0].',
  ],
  tRPC: [
    async (event) => {
      const { json } = await post('/trpc/performance.bulkCreateAuditEvents', { events: [event] });
      if (json.error) expect(json.error.data.kind).toBe('VALIDATION_FAILED');
      return { isStored: !json.error, errors: json.error?.data.errors ?? [] };
    },
    'events[0].',
  ],
};
const WAYS = Object.keys(WRITERS);

describe('an event that does not match its schema', () => {
  it.each(WAYS)('is refused with its path in mode enforce, by %s', async (name) => {
    const organizationId = await withWards('enforce');
    const [write, prefix] = WRITERS[name] ?? [];
    expect(await write?.(eventWith({ organizationId, ...GOOD }))).toMatchObject({ isStored: true });
    expect(await write?.(eventWith({ organizationId, ...BAD }))).toEqual({
      isStored: false,
      errors: [
        {
          path: `${prefix}metadata.ward`,
          message: 'must match pattern "^[A-Z][0-9]$" (version 1 of the schema of its action)',
        },
      ],
    });
    expect(await storedIn(organizationId)).toBe(1);
  });

  it.each(WAYS)('is stored in modes warn and off, by %s', async (name) => {
    const [write] = WRITERS[name] ?? [];
    const faults = async () => {
      const { text } = await service.get('/metrics');
      return Number(/audit_schema_faults_total\{mode="warn"\} (\d+)/.exec(text)?.[1]);
    };
    for (const [mode, added] of [
      ['warn', 1],
      ['off', 0],
    ] as const) {
      const organizationId = await withWards(mode);
      const before = await faults();
      expect(await write?.(eventWith({ organizationId, ...BAD }))).toMatchObject({
        isStored: true,
      });
      expect(await storedIn(organizationId)).toBe(1);
      expect((await faults()) - before).toBe(added);
    }
  });

  it('refuses all events of its transaction, and is named by its index', async () => {
    const organizationId = await withWards('enforce');
    const events = [GOOD, BAD, GOOD, { action: ACTION }].map((members) =>
      eventWith({ organizationId, ...members }),
    );
    const bulk = await post(BULK, { events });
    expectProblem(bulk, 400, 'VALIDATION_FAILED');
    expect(pathsIn(bulk)).toEqual(['events[1].metadata.ward', 'events[3]']);
    const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('');
    const { text } = await post(BULK, lines, { 'content-type': 'application/x-ndjson' });
    const receipts = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(receipts.map(({ code }) => code)).toEqual([
      'TRANSACTION_REJECTED',
      'VALIDATION_FAILED',
      'TRANSACTION_REJECTED',
      'VALIDATION_FAILED',
      undefined,
    ]);
    expect(receipts[3].errors[0]).toMatchObject({ path: '' });
    expect(await storedIn(organizationId)).toBe(0);
  });

  it('concerns no other action, organization or request', async () => {
    const organizationId = await withWards('enforce');
    const other = newOrganization();
    const answers = await Promise.all([
      post(EVENTS, eventWith({ organizationId, ...BAD })),
      post(EVENTS, eventWith({ organizationId, action: 'another', metadata: {} })),
      post(EVENTS, eventWith({ organizationId: other, ...BAD })),
      post(EVENTS, eventWith({ organizationId, ...GOOD })),
      post(EVENTS, eventWith({ organizationId, ...BAD, id: randomUUID() })),
      post(EVENTS, eventWith({ organizationId, ...GOOD, id: randomUUID() })),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([400, 201, 201, 201, 400, 201]);
  });
});

describe('an event in the form of another system', () => {
  it('is refused at its place in a CloudEvent', async () => {
    const organizationId = newOrganization();
    const amount = { type: 'number', maximum: 10 };
    const data = { properties: { amount } };
    await register(
      organizationId,
      { properties: { metadata: { properties: { data } } } },
      { action: 'invoice.approve' },
    );
    await setMode(organizationId, 'enforce');
    const send = (value: number) =>
      post(
        EVENTS,
        {
          specversion: '1.0',
          id: randomUUID(),
          source: '/billing',
          type: 'invoice.approve',
          data: { amount: value },
        },
        { 'content-type': 'application/cloudevents+json', 'x-organization-id': organizationId },
      );
    expect((await send(10)).status).toBe(201);
    const refused = await send(11);
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(pathsIn(refused)).toEqual(['data.amount']);
  });

  it('is rejected alone among log records', async () => {
    const organizationId = newOrganization();
    await register(organizationId, { properties: { outcomeDescription: { maxLength: 3 } } });
    await setMode(organizationId, 'enforce');
    const logRecords = ['yes', 'no, as it is too long', 'no'].map((stringValue) => ({
      eventName: ACTION,
      body: { stringValue },
    }));
    const answer = await post(
      '/v1/logs',
      { resourceLogs: [{ scopeLogs: [{ logRecords }] }] },
      { 'x-organization-id': organizationId },
    );
    expect([answer.status, answer.json]).toEqual([
      200,
      {
        partialSuccess: {
          rejectedLogRecords: '1',
          errorMessage: expect.stringMatching(
            /^resourceLogs\[0\]\.scopeLogs\[0\]\.logRecords\[1\]\.outcomeDescription must NOT have more than 3/,
          ),
        },
      },
    ]);
    expect(await storedIn(organizationId)).toBe(2);
  });
});

it('the record of an export that the service makes is not for the schemas of its organization', async () => {
  const organizationId = newOrganization();
  await register(organizationId, false, { action: 'audit.export' });
  await setMode(organizationId, 'enforce');
  const exporter = await tokenOf({ organizations: [organizationId], scope: 'audit:export' });
  await post(EVENTS, eventWith({ organizationId }));
  const answer = await service.get(`${EVENTS}/stream?format=ndjson`, exporter);
  expect(answer.status).toBe(200);
  await until(async () => (await storedIn(organizationId)) === 2);
  const own = eventWith({ organizationId, action: 'audit.export' });
  expectProblem(await post(EVENTS, own), 400, 'VALIDATION_FAILED');
});

describe('an event that was stored before', () => {
  it.each(WAYS)('is a duplicate, whatever is enforced since, by %s', async (name) => {
    const organizationId = await withWards('off');
    const [write] = WRITERS[name] ?? [];
    const event = eventWith({ organizationId, ...BAD, id: randomUUID() });
    expect(await write?.(event)).toMatchObject({ isStored: true });
    await setMode(organizationId, 'enforce');
    expect(await write?.(event)).toMatchObject({ isStored: true });
    expect(await write?.({ ...event, id: randomUUID() })).toMatchObject({ isStored: false });
    expect(await storedIn(organizationId)).toBe(1);
  });

  it('is acknowledged beside new ones; a new one with a fault refuses them', async () => {
    const organizationId = await withWards('off');
    const old = eventWith({ organizationId, ...BAD, id: randomUUID() });
    await post(EVENTS, old);
    await setMode(organizationId, 'enforce');
    const good = eventWith({ organizationId, ...GOOD });
    expect((await post(BULK, { events: [old, good] })).json).toMatchObject({
      created: 1,
      duplicates: 1,
    });
    const bad = eventWith({ organizationId, ...BAD, id: randomUUID() });
    const refused = await post(BULK, { events: [old, bad, bad, good] });
    expect(pathsIn(refused)).toEqual(['events[1].metadata.ward']);
    expect(await storedIn(organizationId)).toBe(2);
  });

  it('is a conflict with other content, matching or not', async () => {
    const organizationId = await withWards('enforce');
    const id = randomUUID();
    await post(EVENTS, eventWith({ organizationId, ...GOOD, id }));
    for (const members of [BAD, { ...GOOD, metadata: { ward: 'C3' } }]) {
      const answer = await post(EVENTS, eventWith({ organizationId, ...members, id }));
      expectProblem(answer, 409, 'CONFLICT');
    }
  });

  it('is replayed by its Idempotency-Key', async () => {
    const organizationId = await withWards('off');
    const key = { 'idempotency-key': randomUUID() };
    const event = eventWith({ organizationId, ...BAD });
    const first = await post(EVENTS, event, key);
    await setMode(organizationId, 'enforce');
    const again = await post(EVENTS, event, key);
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expectProblem(
      await post(EVENTS, event, { 'idempotency-key': randomUUID() }),
      400,
      'VALIDATION_FAILED',
    );
    expect(await storedIn(organizationId)).toBe(1);
  });
});

describe('the version of an event', () => {
  it('is the one that it names, else the newest', async () => {
    const organizationId = await withWards('enforce');
    const second = { properties: { metadata: { required: ['room'] } } };
    await register(organizationId, second, { version: '2', compatibility: 'none' });
    const statusOf = async (members: object) =>
      (await post(EVENTS, eventWith({ organizationId, ...members }))).status;
    const room = { action: ACTION, metadata: { room: 1 } };
    expect(await statusOf(GOOD)).toBe(400);
    expect(await statusOf({ ...GOOD, schemaVersion: '1' })).toBe(201);
    expect(await statusOf(room)).toBe(201);
    expect(await statusOf({ ...room, schemaVersion: '1' })).toBe(400);
    const unknown = await post(
      EVENTS,
      eventWith({ organizationId, ...room, schemaVersion: '2.0' }),
    );
    expect(unknown.json.errors).toEqual([
      {
        path: 'schemaVersion',
        message: 'is no registered version of the schema of its action',
      },
    ]);
    expect(await statusOf({ action: 'without.schema', schemaVersion: '1' })).toBe(400);
    expect(
      (await service.request('DELETE', at(organizationId, `/${ACTION}/2`), { token: operator }))
        .status,
    ).toBe(200);
    expect(await statusOf(GOOD)).toBe(201);
    expect(await statusOf({ ...room, schemaVersion: '2' })).toBe(400);
  });
});

describe('numbers', () => {
  it('are compared with all their digits, on every path', async () => {
    const organizationId = newOrganization();
    const schema = `{"schema":{"properties":{"metadata":{"properties":{"n":{"type":"integer","maximum":9223372036854775807}}}}}}`;
    const path = at(organizationId, `/${ACTION}/1`);
    expect((await put(path, schema)).text).toContain('"maximum":9223372036854775807}');
    await setMode(organizationId, 'enforce');
    const event = (number: string) =>
      `{"organizationId":"${organizationId}","action":"${ACTION}","status":"success","metadata":{"n":${number}}}`;
    for (const target of [EVENTS, `${EVENTS}?`]) {
      expect((await post(target, event('9223372036854775807'))).status).toBe(201);
      expect((await post(target, event('9223372036854775808'))).status).toBe(400);
    }
  });
});

describe('registration', () => {
  it('gives a version what it was given, for good', async () => {
    const organization = newOrganization();
    const first = await register(organization, WARD);
    expect(first.status).toBe(201);
    expect(first.json).toMatchObject({
      organizationId: organization,
      action: ACTION,
      version: '1',
      compatibility: 'backward',
      registeredAt: expect.stringMatching(/^\d{4}-.*Z$/),
      withdrawnAt: null,
      schema: WARD,
    });
    const shown = await service.get(at(organization, `/${ACTION}/1`), operator);
    expect([shown.status, shown.text]).toEqual([200, first.text]);
    const { type, ...rest } = WARD;
    const again = await register(organization, { ...rest, type });
    expect([again.status, again.text]).toEqual([200, first.text]);
    expectProblem(await register(organization, { type: 'object' }), 409, 'CONFLICT');
    expect((await service.get(at(organization), operator)).json).toEqual({
      data: [expect.objectContaining({ action: ACTION, version: '1' })],
    });
  });

  it('takes actions and versions of any text', async () => {
    const organization = newOrganization();
    const [action, version] = ['a/b c?d#%2F→', '2026-11-01 β'];
    expect((await register(organization, true, { action, version })).status).toBe(201);
    const list = await service.get(
      `${at(organization)}&action=${encodeURIComponent(action)}`,
      operator,
    );
    expect(list.json.data).toMatchObject([{ action, version }]);
  });

  it('refuses a version that may refuse what the one before accepts, and says where', async () => {
    const organization = newOrganization();
    await register(organization, WARD);
    const { metadata } = WARD.properties;
    const narrower = {
      ...WARD,
      properties: { metadata: { ...metadata, required: ['ward', 'beds'] } },
    };
    const refused = await register(organization, narrower, { version: '2' });
    expectProblem(refused, 409, 'INCOMPATIBLE_SCHEMA');
    expect(refused.json.errors).toEqual([
      { path: 'schema/properties/metadata/required', message: 'requires beds' },
    ]);
    const wider = {
      ...WARD,
      properties: {
        metadata: { ...metadata, properties: { ...metadata.properties, room: { type: 'string' } } },
      },
    };
    expect((await register(organization, wider, { version: '1.1' })).status).toBe(201);
    expectProblem(
      await register(organization, WARD, { version: '1.2' }),
      409,
      'INCOMPATIBLE_SCHEMA',
    );
    const major = await register(organization, narrower, { version: '2', compatibility: 'none' });
    expect(major.json).toMatchObject({ version: '2', compatibility: 'none' });
  });

  it('does not give the name of a withdrawn version away', async () => {
    const organization = newOrganization();
    await register(organization, WARD);
    const path = at(organization, `/${ACTION}/1`);
    for (let time = 0; time < 2; time += 1) {
      expect((await service.request('DELETE', path, { token: operator })).status).toBe(200);
    }
    expect((await service.get(path, operator)).json.withdrawnAt).toMatch(/Z$/);
    for (const schema of [WARD, {}]) {
      expectProblem(await register(organization, schema), 409, 'CONFLICT');
    }
    expect((await register(organization, {}, { version: '2' })).status).toBe(201);
  });

  it('names each fault of a schema', async () => {
    const answer = await register(newOrganization(), {
      $ref: 'https://example.com/schema.json',
      properties: { metadata: { properties: { a: { type: 'text', pattern: '(?=a)' } } } },
    });
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsIn(answer)).toEqual([
      'schema/$ref',
      'schema/properties/metadata/properties/a/type',
      'schema/properties/metadata/properties/a/pattern',
    ]);
  });

  it('of many at once leaves a chain of compatible versions', async () => {
    const organization = newOrganization();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        register(
          organization,
          { properties: { metadata: { minProperties: index } } },
          {
            version: String(index),
          },
        ),
      ),
    );
    const registered = answers.filter(({ status }) => status === 201).map(({ json }) => json);
    expect(answers.every(({ status }) => [201, 409].includes(status))).toBe(true);
    const { data } = (await service.get(at(organization), operator)).json;
    const bounds = (data as { version: string }[]).map(({ version }) => Number(version));
    expect(bounds).toEqual([...bounds].sort((one, other) => other - one));
    expect(bounds).toHaveLength(registered.length);
  });

  it('has a limit for each organization', async () => {
    const organization = newOrganization();
    await register(organization, {});
    await admin.query(
      `INSERT INTO audit_schema (organization_id, action, version, schema, compatibility, registered_by)
       SELECT $1, 'many', n, 'true', 'none', 'spec' FROM generate_series(1, 999) n`,
      [organization],
    );
    expectProblem(await register(organization, {}, { version: '2' }), 409, 'CONFLICT');
    expect((await register(organization, {})).status).toBe(200);
  });
});

describe('access', () => {
  const tokens: Record<string, string> = {};
  beforeAll(async () => {
    tokens['one'] = await tokenOf({ organizations: ['mine'], scope: 'schemas:manage' });
    tokens['writer'] = await tokenOf({ organizations: ['mine'], scope: 'audit:read audit:write' });
  });
  const requests: [string, string, unknown][] = [
    ['GET', '', undefined],
    ['GET', '/mode', undefined],
    ['PUT', '/mode', { mode: 'off' }],
    ['GET', '/a/1', undefined],
    ['PUT', '/a/1', { schema: {} }],
    ['DELETE', '/a/1', undefined],
  ];

  it.each(requests)(
    'to %s %s is for the organizations of the token',
    async (method, path, body) => {
      const ask = (token: string | undefined, query: string) =>
        service.request(method, `${SCHEMAS}${path}${query}`, { token, body });
      expectProblem(await ask(undefined, ''), 401, 'UNAUTHENTICATED');
      expectProblem(await ask(tokens['writer'], ''), 403, 'FORBIDDEN');
      expectProblem(await ask(tokens['one'], '?organization_id=other'), 403, 'FORBIDDEN');
      expectProblem(await ask(tokens['one'], ''), 400, 'VALIDATION_FAILED');
      expectProblem(await ask(operator, '?organization_id='), 400, 'VALIDATION_FAILED');
      expectProblem(await ask(operator, '?organization_id=*'), 400, 'VALIDATION_FAILED');
      const own = await ask(tokens['one'], '?organization_id=mine');
      expect([200, 201, 404]).toContain(own.status);
    },
  );

  it('shows no schema of another organization', async () => {
    const organization = await withWards('enforce');
    const path = at('mine', `/${ACTION}/1`);
    expectProblem(await service.get(path, tokens['one']), 404, 'NOT_FOUND');
    expect((await service.get(at('mine'), tokens['one'])).text).not.toContain(organization);
  });
});

describe('replicas', () => {
  let other: TestService;
  beforeAll(async () => {
    other = await TestService.start({}, () => Promise.resolve(service.databaseUrl));
  });
  afterAll(() => other?.stop());

  it('enforce what another one was told', async () => {
    const organizationId = newOrganization();
    const write = () => other.post(EVENTS, operator, eventWith({ organizationId, ...BAD }));
    expect((await write()).status).toBe(201);
    await register(organizationId, WARD);
    await setMode(organizationId, 'enforce');
    const changedMs = performance.now();
    // Each write that still passes was sent before the bound.
    for (let sentMs = changedMs; (await write()).status !== 400; sentMs = performance.now()) {
      expect(sentMs - changedMs).toBeLessThan(MAX_STALE_MS);
    }
    await setMode(organizationId, 'off');
    await other.provider(EventSchemas).refresh();
    expect((await write()).status).toBe(201);
  }, 30_000);
});

describe('schemas that cannot be read', () => {
  const schemas = () => service.provider(EventSchemas);
  const becomeOld = () => Object.assign(schemas(), { readAtMs: -Infinity });

  it.each(['audit_schema', 'audit_schema_setting'])(
    'let nothing through where %s is needed',
    async (table) => {
      const organizationId = await withWards('enforce');
      const event = eventWith({ organizationId, ...GOOD });
      await admin.query(`ALTER TABLE ${table} RENAME TO moved`);
      try {
        becomeOld();
        const answer = await post(EVENTS, event);
        expect(answer.status).toBeGreaterThanOrEqual(500);
        expect(await storedIn(organizationId)).toBe(0);
      } finally {
        await admin.query(`ALTER TABLE moved RENAME TO ${table}`);
      }
      expect((await post(EVENTS, event)).status).toBe(201);
    },
  );

  it('let nothing through for organizations that may have begun to enforce', async () => {
    const event = eventWith({ organizationId: newOrganization() });
    await admin.query('ALTER TABLE audit_schema_setting RENAME TO moved');
    try {
      becomeOld();
      expect((await post(EVENTS, event)).status).toBeGreaterThanOrEqual(500);
    } finally {
      await admin.query('ALTER TABLE moved RENAME TO audit_schema_setting');
    }
    expect((await post(EVENTS, event)).status).toBe(201);
  });

  it('are no concern of writes within the bound, once they are known', async () => {
    const organizationId = await withWards('enforce');
    expect((await post(EVENTS, eventWith({ organizationId, ...GOOD }))).status).toBe(201);
    await schemas().refresh();
    await admin.query('ALTER TABLE audit_schema RENAME TO moved');
    try {
      expect((await post(EVENTS, eventWith({ organizationId, ...GOOD }))).status).toBe(201);
      expect((await post(EVENTS, eventWith({ organizationId, ...BAD }))).status).toBe(400);
    } finally {
      await admin.query('ALTER TABLE moved RENAME TO audit_schema');
    }
  });
});
