import { auditServer } from 'graphql-http';
import { eventsIn, eventWith, TestService, tokenOf, type Answer } from '../support/test-service';

const NODE_MEMBERS =
  'id timestamp sequence organizationId action status dataClassification metadata';

describe('GraphQL over HTTP', () => {
  let service: TestService;
  let token: string;

  beforeAll(async () => {
    service = await TestService.start();
    token = await tokenOf();
  });
  afterAll(() => service.stop());

  const ask = (
    query: string,
    variables: Record<string, unknown> = {},
    bearer = token,
  ): Promise<Answer> => service.post('/graphql', bearer, { query, variables });

  const firstError = ({ json }: Answer) =>
    (json as { errors: { message: string; extensions: Record<string, unknown> }[] }).errors[0];

  describe('over HTTP', () => {
    it('passes every MUST and SHOULD of the audits of graphql-http', async () => {
      const results = await auditServer({
        url: `${service.url}/graphql`,
        fetchFn: (url: string, init: RequestInit = {}) => {
          const headers = new Headers(init.headers);
          headers.set('authorization', `Bearer ${token}`);
          return fetch(url, { ...init, headers });
        },
      });
      expect(results.length).toBeGreaterThan(50);
      expect(results.filter(({ status }) => status !== 'ok')).toEqual([]);
    });

    it.each([
      ['application/json; charset=utf-8', 'application/json'],
      ['application/json;odata=verbose', 'application/json'],
      ['*', 'application/json'],
      ['application/json;q=0.5, application/graphql-response+json', 'graphql-response'],
      ['application/graphql-response+json;q=0.5, application/json', 'application/json'],
      ['application/graphql-response+json; charset=iso-8859-1', 'graphql-response'],
    ])('has for Accept: %s a response of %s', async (accept, type) => {
      for (const query of ['{ __typename }', '{ nothing }']) {
        const answer = await service.post('/graphql', token, { query }, { accept });
        expect(answer.headers.get('content-type')).toContain(type);
        expect(answer.json).toHaveProperty(query === '{ nothing }' ? 'errors' : 'data');
      }
    });

    it.each(['text/html', 'application/graphql-response+json;q=0', 'image/*;q=1'])(
      'refuses Accept: %s with 406',
      async (accept) => {
        const answer = await service.post(
          '/graphql',
          token,
          { query: '{ __typename }' },
          { accept },
        );
        expect([answer.status, firstError(answer)?.extensions.code]).toEqual([
          406,
          'NOT_ACCEPTABLE',
        ]);
      },
    );

    it('is closed without a good token', async () => {
      const { status, json, headers } = await service.request('POST', '/graphql', {
        body: { query: '{ __typename }' },
      });
      expect(status).toBe(401);
      expect(headers.get('www-authenticate')).toContain('Bearer');
      expect(json).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
    });

    it('refuses batches, methods and bodies that are no JSON with their codes', async () => {
      const one = { query: '{ __typename }' };
      const batch = await service.post('/graphql', token, Array(100).fill(one));
      expect([batch.status, firstError(batch)?.extensions.code]).toEqual([
        400,
        'VALIDATION_FAILED',
      ]);
      const broken = await service.post('/graphql', token, '{"query"');
      expect([broken.status, firstError(broken)?.extensions.code]).toEqual([400, 'MALFORMED_JSON']);
      const missing = await service.post('/graphql', token, { variables: {} });
      expect([missing.status, firstError(missing)?.extensions.code]).toEqual([
        400,
        'VALIDATION_FAILED',
      ]);
      const put = await service.request('PUT', '/graphql', { token, body: one });
      expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, POST']);
      const query = encodeURIComponent('mutation { optimizeDatabase { timestamp } }');
      const written = await service.get(`/graphql?query=${query}`, token);
      expect([written.status, written.headers.get('allow')]).toEqual([405, 'POST']);
    });
  });

  describe('limits', () => {
    const nested = (depth: number) => `{ ${'a { '.repeat(depth)}b${' }'.repeat(depth)} }`;
    const many = (count: number, of: (index: number) => string) =>
      Array.from({ length: count }, (_, index) => of(index)).join(' ');
    const page = 'edges { node { id action status metadata sequence timestamp } }';
    const thousand = `optimizedAuditEvents(pagination: { limit: 1000 }) { ${page} }`;

    it.each([
      ['500 aliases', `{ cacheStats { ${many(500, (index) => `a${index}: entries`)} } }`],
      [
        'aliases hidden in fragments',
        `{ cacheStats { ...F ...F ...F ...F ...F ...F } } fragment F on CacheStatistics { ${many(10, (i) => `a${i}: entries`)} }`,
      ],
      ['50 levels', nested(50)],
      ['20 000 levels', nested(20_000)],
      ['a list of tokens without end', `{ ${'a '.repeat(30_000)} }`],
      ['many large pages', `{ ${many(10, (index) => `p${index}: ${thousand}`)} }`],
      [
        'a large page by a default of a variable',
        `query ($n: Int = 1000) { ${many(10, (i) => `p${i}: ${thousand.replace('1000', '$n')}`)} }`,
      ],
      ['30 root fields', `{ ${many(30, () => '__typename')} }`],
      ['100 operations', many(100, (index) => `query q${index} { __typename }`)],
    ])('refuse %s with 400', async (_, query) => {
      const answer = await ask(query);
      expect(answer.status).toBe(400);
      expect(firstError(answer)?.extensions.code).toBe('VALIDATION_FAILED');
      expect(firstError(answer)?.message).toMatch(/too large/);
    });

    it('leave room for a page of 1000 with all its members', async () => {
      const { json } = await ask(`{ ${thousand} }`);
      expect(json).not.toHaveProperty('errors');
    });
  });

  describe('events', () => {
    it('keep the digits of numbers from literals, variables and members of variables', async () => {
      const create = `mutation ($event: CreateAuditEventInput!, $anything: JSON) {
        whole: createAuditEvent(event: $event) { metadata }
        part: createAuditEvent(event: {
          organizationId: "org-1", action: "exact", status: SUCCESS, metadata: $anything }) { metadata }
        literal: createAuditEvent(event: {
          organizationId: "org-1", action: "exact", status: SUCCESS,
          metadata: { n: [-9218868437227405312, 1.0, 1E3] } }) { metadata }
      }`;
      const metadata = '{"n":[-9218868437227405312,1.0,1E3]}';
      const event = `{"organizationId":"org-1","action":"exact","status":"SUCCESS","metadata":${metadata}}`;
      const query = JSON.stringify(create);
      const body = `{"query":${query},"variables":{"event":${event},"anything":${metadata}}}`;
      const { text } = await service.post('/graphql', token, body);
      const member = `{"metadata":${metadata}}`;
      expect(text).toBe(`{"data":{"whole":${member},"part":${member},"literal":${member}}}`);
      const listed = await ask(
        '{ optimizedAuditEvents(filter: { actions: ["exact"] }) { edges { node { metadata } } } }',
      );
      expect(listed.text.split(metadata)).toHaveLength(4);
    });

    it('are stored in bulk, all or none', async () => {
      const bulk = `mutation ($events: [CreateAuditEventInput!]!) {
        bulkCreateAuditEvents(events: $events, batchSize: 2) {
          created batches results { index status } performance { totalTime } } }`;
      const good = { organizationId: 'org-1', action: 'bulk', status: 'SUCCESS' };
      const { json } = await ask(bulk, { events: [good, good, good] });
      expect(json).toMatchObject({ data: { bulkCreateAuditEvents: { created: 3, batches: 2 } } });
      const refused = await ask(bulk, { events: [good, { ...good, action: 'a\0b' }] });
      expect(firstError(refused)?.extensions).toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ path: 'events[1].action' }],
      });
      const { json: rest } = await service.get('/api/v1/audit/events?actions=bulk', token);
      expect((rest as { data: unknown[] }).data).toHaveLength(3);
    });

    it('come in the pages that REST gives, with cursors, totals and the cache status', async () => {
      for (let index = 0; index < 3; index += 1) {
        await service.post(
          '/api/v1/audit/events',
          token,
          eventWith({ action: 'paged', timestamp: `2026-01-0${index + 1}T00:00:00.123456Z` }),
        );
      }
      const query = `query ($cursor: String, $limit: Int = 2) {
        optimizedAuditEvents(filter: { actions: ["paged"], statuses: [SUCCESS],
          dateRange: { startDate: "2026-01-01T00:00:00Z" } },
          pagination: { limit: $limit, cursor: $cursor, sort: { field: TIMESTAMP } }) {
          edges { cursor node { ${NODE_MEMBERS} } }
          pageInfo { hasNextPage hasPreviousPage startCursor endCursor total }
          totalCount cacheInfo { cached cacheKey ttl hitRatio } } }`;
      const rest = eventsIn(
        await service.get(`/api/v1/audit/events?actions=paged&sort_direction=desc`, token),
      );
      const { optimizedAuditEvents: first } = (await ask(query)).json.data;
      expect(first).toMatchObject({
        totalCount: 3,
        pageInfo: { hasNextPage: true, hasPreviousPage: false, startCursor: null, total: 3 },
        cacheInfo: { cached: false, ttl: 300 },
      });
      expect(first.edges[0].node).toMatchObject({
        id: rest[0]?.id,
        timestamp: '2026-01-03T00:00:00.123456Z',
        status: 'SUCCESS',
      });
      const again = (await ask(query)).json.data.optimizedAuditEvents;
      expect(again.cacheInfo.cached).toBe(true);
      const variables = { cursor: first.pageInfo.endCursor };
      const { optimizedAuditEvents: second } = (await ask(query, variables)).json.data;
      expect(second.edges).toMatchObject([{ node: { id: rest[2]?.id } }]);
      const fromEdge = (await ask(query, { cursor: first.edges[0].cursor, limit: 1 })).json.data;
      expect(fromEdge.optimizedAuditEvents.edges[0].node.id).toBe(rest[1]?.id);
      const found = await ask('query ($id: ID!) { auditEvent(id: $id) { id } }', {
        id: rest[0]?.id,
      });
      expect(found.json).toEqual({ data: { auditEvent: { id: rest[0]?.id } } });
    });

    it('of other organizations are neither seen nor written', async () => {
      const other = await tokenOf({ organizations: ['org-2'] });
      const [event] = eventsIn(await service.get('/api/v1/audit/events?limit=1', token));
      const byId = 'query ($id: ID!) { auditEvent(id: $id) { id } }';
      const hidden = await ask(byId, { id: event?.id }, other);
      expect(firstError(hidden)?.extensions.code).toBe('NOT_FOUND');
      const list = await ask('{ optimizedAuditEvents { edges { node { id } } } }', {}, other);
      expect(list.json).toEqual({ data: { optimizedAuditEvents: { edges: [] } } });
      const asked =
        '{ optimizedAuditEvents(filter: { organizationIds: ["org-1"] }) { totalCount } }';
      expect(firstError(await ask(asked, {}, other))?.extensions.code).toBe('FORBIDDEN');
      const write =
        'mutation { createAuditEvent(event: { organizationId: "org-1", action: "a", status: SUCCESS }) { id } }';
      expect(firstError(await ask(write, {}, other))?.extensions.code).toBe('FORBIDDEN');
    });
  });

  describe('operators', () => {
    const everything = `{ performanceMetrics { timestamp memoryUsage { total } cacheStats { hitRatio } }
      performanceHealth { status details { memory { usage } } recommendations }
      performanceAlerts { id severity type } cacheStats { entries sharedTier namespaces }
      databasePerformanceReport { connectionPool { totalConnections } }
      databaseHealthStatus { overall components { performance { status details } } } }`;

    it('see figures of the service, the cache and the database', async () => {
      const reader = await tokenOf({ scope: 'performance:read' });
      const { json } = await ask(everything, {}, reader);
      expect(json).not.toHaveProperty('errors');
      expect(json.data.performanceHealth.status).toBe('HEALTHY');
      expect(json.data.performanceMetrics.memoryUsage.total).toBeGreaterThan(0);
    });

    it('act on them with the scope for it', async () => {
      const manager = await tokenOf({ scope: 'performance:manage' });
      const { json } = await ask(
        `mutation { invalidateCache(pattern: "audit_events*") { pattern invalidated }
          warmupCache(preloadDays: 1) { total failed } optimizeDatabase { timestamp } }`,
        {},
        manager,
      );
      expect(json).toMatchObject({
        data: { invalidateCache: { pattern: 'audit_events*' }, warmupCache: { failed: 0 } },
      });
    });

    it('need their scopes field by field', async () => {
      const { status, json } = await ask('{ __typename cacheStats { entries } }');
      expect(status).toBe(200);
      expect(json.errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
      expect(JSON.stringify(json)).not.toContain('stack');
    });

    it('find requests by the root field in the metrics, never by client text', async () => {
      await ask('query invented { anAlias: optimizedAuditEvents { totalCount } }');
      const { text } = await service.get('/metrics');
      expect(text).toContain('graphql query optimizedAuditEvents');
      expect(text).not.toMatch(/invented|anAlias/);
    });
  });
});

describe('GraphQL with GRAPHQL_INTROSPECTION=false', () => {
  it('does not reveal its schema', async () => {
    const service = await TestService.start({ GRAPHQL_INTROSPECTION: 'false' });
    try {
      const query = '{ __schema { types { name } } }';
      const { json } = await service.post('/graphql', await tokenOf(), { query });
      expect(json).not.toHaveProperty('data');
      expect(json.errors[0].message).toMatch(/introspection/i);
      for (const wrong of [
        { query: '{ optimizedAuditEvent { totalCount } }' },
        { query: '{ auditEvent(i: "a") { id } }' },
        {
          query:
            'query Q($p: PaginationInput) { optimizedAuditEvents(pagination: $p) { totalCount } }',
          variables: { p: { limitt: 1 } },
        },
      ]) {
        const answer = await service.post('/graphql', await tokenOf(), wrong);
        expect(answer.json.errors[0].extensions.code).toBe('VALIDATION_FAILED');
        expect(answer.text).not.toMatch(/did you mean/i);
      }
    } finally {
      delete process.env.GRAPHQL_INTROSPECTION;
      await service.stop();
    }
  });
});
