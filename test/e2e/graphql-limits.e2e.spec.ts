import { randomUUID } from 'node:crypto';
import { SocketStage } from '../support/socket-stage';
import { until } from '../integration/until.fixture';
import {
  type Answer,
  EVENTS,
  eventWith,
  eventsIn,
  TestService,
  tokenOf,
} from '../support/test-service';

let service: TestService;
let token: string;
const organization = `org-${randomUUID()}`;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '', BULK_MAX_EVENTS: '20' });
  token = await tokenOf({ organizations: [organization] });
});
afterAll(async () => {
  await service.stop();
  delete process.env['BULK_MAX_EVENTS'];
});

const JSON_TYPE = 'application/json';
const GRAPHQL_TYPE = 'application/graphql-response+json';

const ask = (
  query: string,
  variables: object = {},
  headers: Record<string, string> = {},
): Promise<Answer> => service.post('/graphql', token, { query, variables }, headers);

const errorsOf = ({ json }: Answer) =>
  json.errors as { message: string; extensions: { code: string; errors?: object[] } }[];
const many = (count: number, of: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => of(index)).join(' ');
/** Fragments in a chain, each with a variable: what rules of validation look through again and again. */
const chain = (fragments: number, variables: number) =>
  `query (${many(variables, (i) => `$v${i}: Boolean!`)}) { cacheStats { ...F0 } }
  ${many(fragments, (i) => {
    const next = i < fragments - 1 ? `...F${i + 1}` : '';
    return `fragment F${i} on CacheStatistics { entries @include(if: $v${i % variables}) ${next} }`;
  })}`;

describe('a document', () => {
  it.each([
    ['fragments', chain(101, 1), 'at most 100 fragments are allowed, not 101'],
    ['variables', chain(1, 101), 'at most 100 variables are allowed, not 101'],
    [
      'selections of one field',
      `{ performanceMetrics { ${'percentiles { p50 } '.repeat(101)} } }`,
      'at most 100 selections of one field are allowed, not 101',
    ],
    [
      'characters in an alias',
      `{ cacheStats { ${'a'.repeat(101)}: entries } }`,
      'at most 100 characters in an alias are allowed, not 101',
    ],
    [
      'fields of each result',
      `mutation { bulkCreateAuditEvents(events: []) { results { ${many(11, (i) => `a${i}: id`)} } } }`,
      'at most 10 fields of each result are allowed, not 11',
    ],
    ['tokens', `{ cacheStats { ${'entries '.repeat(5000)} } }`, 'at most 5000 tokens'],
  ])(
    'with too many %s is refused with 400 and the limit, whatever is accepted',
    async (_, query, message) => {
      for (const accept of [JSON_TYPE, GRAPHQL_TYPE]) {
        const answer = await ask(query, {}, { accept });
        expect(answer.status).toBe(400);
        expect(errorsOf(answer)).toMatchObject([
          { message: expect.stringContaining(message), extensions: { code: 'VALIDATION_FAILED' } },
        ]);
      }
    },
  );

  it('with as many as are allowed is validated', async () => {
    const variables = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`v${i}`, true]));
    const answer = await ask(chain(100, 100), variables);
    expect(errorsOf(answer).map(({ extensions }) => extensions.code)).toEqual(['FORBIDDEN']);
  });

  it('that is wrong in more places than validation looks for is refused with 400, as one too large', async () => {
    const query = `{ cacheStats { ${many(150, (index) => `no${index}`)} } }`;
    for (const accept of [JSON_TYPE, GRAPHQL_TYPE]) {
      const answer = await ask(query, {}, { accept });
      expect(answer.status).toBe(400);
      expect(errorsOf(answer).at(-1)?.message).toContain('Validation aborted');
    }
  });

  it('that is not valid is answered as the media type says, and so are variables that do not fit', async () => {
    const bad = 'query ($n: Int) { optimizedAuditEvents(cacheTTL: $n) { totalCount } }';
    for (const [query, variables] of [
      ['{ nothing }', {}],
      [bad, { n: 'x' }],
    ] as const) {
      expect((await ask(query, variables, { accept: JSON_TYPE })).status).toBe(200);
      expect((await ask(query, variables, { accept: GRAPHQL_TYPE })).status).toBe(400);
    }
  });
});

describe('a list in variables that no field takes', () => {
  const search = 'query ($f: AuditEventFilter) { optimizedAuditEvents(filter: $f) { totalCount } }';
  const write =
    'mutation ($e: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $e) { created } }';

  it.each([
    // Not one element would pass the coercion: that the length is named shows that none was coerced.
    ['of names', search, { f: { actions: Array(1001).fill(1) } }, 'f.actions 1000 1001'],
    ['of words', search, { f: { statuses: Array(400_000).fill(1) } }, 'f.statuses 1000 400000'],
    ['of events', write, { e: Array(21).fill({}) }, 'e 20 21'],
  ])('%s is refused by its length', async (_, query, variables, fault) => {
    const [path, max, length] = fault.split(' ');
    const answer = await ask(query, variables);
    expect(answer.status).toBe(400);
    const message = `must be at most ${max} elements, not ${length}`;
    expect(errorsOf(answer)[0]?.extensions).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ path, message }],
    });
  });

  it('is refused over sockets too', async () => {
    const stage = await SocketStage.start();
    const subscriber = stage.subscribe(await tokenOf(), search, {
      f: { actions: Array(1001).fill(1) },
    });
    await until(() => subscriber.isOver);
    expect(subscriber.errors[0]?.message).toContain('f.actions must be at most 1000 elements');
    await stage.clear();
    await stage.service.stop();
  });

  it('may be as long as a field takes', async () => {
    const answer = await ask(search, { f: { actions: Array(1000).fill('a') } });
    expect(answer.json.data.optimizedAuditEvents.totalCount).toBe(0);
  });
});

describe('metadata of an event that is written or followed', () => {
  const selected = (count: number) => many(count, (index) => `m${index}: metadata`);
  const faults = [{ path: 'metadata', message: 'must be selected at most 2 times, not 3' }];

  it('is given twice at most, and nothing is written when it is asked for more often', async () => {
    const create = (count: number) =>
      ask(
        `mutation ($o: String!) { createAuditEvent(
           event: { organizationId: $o, action: "few", status: SUCCESS, metadata: { a: 1 } }
         ) { ...E } } fragment E on AuditEvent { ${selected(count)} }`,
        { o: organization },
      );
    expect(errorsOf(await create(3))[0]?.extensions).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: faults,
    });
    expect((await create(2)).json.data.createAuditEvent).toEqual({ m0: { a: 1 }, m1: { a: 1 } });
    expect(eventsIn(await service.get(`${EVENTS}?actions=few`, token))).toHaveLength(1);
  });

  it('is followed twice at most', async () => {
    const stage = await SocketStage.start();
    const follow = (count: number) =>
      stage.subscribe(token, `subscription { auditEventRecorded { ${selected(count)} } }`);
    const [few, more] = [follow(2), follow(3)];
    await until(() => more.isOver && stage.active === 1);
    expect(more.errors[0]?.extensions).toMatchObject({ errors: faults });
    expect(few.isOver).toBe(false);
    await stage.clear();
    await stage.service.stop();
  });
});

describe('an Idempotency-Key', () => {
  const create =
    'mutation ($e: CreateAuditEventInput!) { createAuditEvent(event: $e) { id sequence action } }';
  const event = (action: string) => ({ organizationId: organization, action, status: 'SUCCESS' });
  const count = async (action: string) =>
    eventsIn(await service.get(`${EVENTS}?actions=${action}`, token)).length;

  it('gives a repeated mutation its first response, and refuses another one', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const first = await ask(create, { e: event('keyed') }, headers);
    const again = await ask(create, { e: event('keyed') }, headers);
    expect(first.json.data.createAuditEvent.action).toBe('keyed');
    expect([again.text, again.status]).toEqual([first.text, first.status]);
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(await count('keyed')).toBe(1);
    const other = await ask(create, { e: event('other') }, headers);
    expect(errorsOf(other)[0]?.extensions.code).toBe('IDEMPOTENCY_MISMATCH');
    const rest = await service.post(
      EVENTS,
      token,
      eventWith({ organizationId: organization }),
      headers,
    );
    expect(rest.json.code).toBe('IDEMPOTENCY_MISMATCH');
  });

  it('holds for bulk mutations', async () => {
    const bulk = `mutation ($e: [CreateAuditEventInput!]!) {
      bulkCreateAuditEvents(events: $e) { created results { id } } }`;
    const headers = { 'idempotency-key': randomUUID() };
    const write = () => ask(bulk, { e: [event('bulk'), event('bulk')] }, headers);
    const [first, again] = [await write(), await write()];
    expect(first.json.data.bulkCreateAuditEvents.created).toBe(2);
    expect(again.text).toBe(first.text);
    expect(await count('bulk')).toBe(2);
  });

  it.each([
    [
      'two mutations',
      'mutation ($e: CreateAuditEventInput!) { a: createAuditEvent(event: $e) { id } b: createAuditEvent(event: $e) { id } }',
    ],
    [
      'two in fragments',
      `mutation ($e: CreateAuditEventInput!) { ...A ... on Mutation { b: createAuditEvent(event: $e) { id } } }
      fragment A on Mutation { a: createAuditEvent(event: $e) { id } }`,
    ],
  ])('of %s in one request is refused, and nothing is stored', async (_, query) => {
    const headers = { 'idempotency-key': randomUUID() };
    const answer = await ask(query, { e: event('twice') }, headers);
    expect(answer.status).toBe(400);
    expect(errorsOf(answer)[0]?.extensions.errors).toEqual([
      { path: 'Idempotency-Key', message: expect.stringContaining('one write') },
    ]);
    expect(await count('twice')).toBe(0);
  });

  it('that is not printable is refused', async () => {
    const answer = await ask(create, { e: event('unprintable') }, { 'idempotency-key': '\u00e4' });
    expect(answer.status).toBe(400);
    expect(await count('unprintable')).toBe(0);
  });

  it('means nothing for queries', async () => {
    const answer = await ask('{ a: __typename b: __typename }', {}, { 'idempotency-key': 'x' });
    expect(answer.json.data).toEqual({ a: 'Query', b: 'Query' });
  });
});

describe('cursors of single events', () => {
  it('have the positions of all organizations, and count as a part of the response', async () => {
    const organizations = Array.from({ length: 100 }, (_, at) => `${randomUUID()}-${at}`);
    const reader = await tokenOf({ organizations });
    const events = organizations.map((organizationId) => eventWith({ organizationId }));
    const sent = 10;
    for (let round = 0; round < sent; round += 1) {
      const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('');
      const headers = { 'content-type': 'application/x-ndjson' };
      expect((await service.post(`${EVENTS}/ingest`, reader, lines, headers)).status).toBe(200);
    }
    const page = async (cursors: number) => {
      const query = `{ optimizedAuditEvents(pagination: { limit: 1000, sort: { field: SEQUENCE, direction: ASC } }) { edges { ${many(cursors, (i) => `a${i}: cursor`)} } } }`;
      return service.post('/graphql', reader, { query });
    };
    const { json, text } = await page(2);
    const { edges } = json.data.optimizedAuditEvents;
    expect(edges).toHaveLength(sent * organizations.length);
    expect(text.length).toBeGreaterThan(2_000_000);
    expect(errorsOf(await page(40))[0]?.extensions.code).toBe('REQUEST_TOO_LARGE');
    // Each cursor goes on exactly behind its event.
    const at = 417;
    const query = `query ($cursor: String) { optimizedAuditEvents(pagination: { limit: 2, cursor: $cursor, sort: { field: SEQUENCE, direction: ASC } }) { edges { cursor } } }`;
    const rest = await service.post('/graphql', reader, {
      query,
      variables: { cursor: edges[at].a1 },
    });
    expect(rest.json.data.optimizedAuditEvents.edges).toEqual(
      [at + 1, at + 2].map((index) => ({ cursor: edges[index].a0 })),
    );
  });
});
