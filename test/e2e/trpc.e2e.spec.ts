import { Logger } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { TestService, EVENTS, eventWith, tokenOf } from '../support/test-service';
import { failureOfCall, trpcClient } from '../support/trpc-client';

let service: TestService;
let token: string;
const organization = `org-${randomUUID()}`;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf({
    organizations: [organization],
    scope: 'audit:read audit:write performance:read performance:manage',
  });
});

afterAll(() => service.stop());

const event = (members: Record<string, unknown> = {}) => ({
  organizationId: organization,
  action: 'trpc.test',
  status: 'success' as const,
  ...members,
});

describe.each([
  ['httpBatchStreamLink', true],
  ['httpBatchLink', false],
])('a stock client with %s', (_name, isStreaming) => {
  const client = () => trpcClient(service.url, token, { isStreaming }).performance;

  it('writes events and reads them again', async () => {
    const action = `made.${isStreaming}`;
    const made = await client().bulkCreateAuditEvents.mutate({
      events: [event({ action }), event({ action, status: 'failure' })],
      batchSize: 1,
    });
    expect(made).toMatchObject({ created: 2, duplicates: 0, batches: 2 });
    const page = await client().getOptimizedAuditEvents.query({
      filter: { actions: [action], statuses: ['failure'] },
      pagination: { limit: 10, offset: 0, sort: { field: 'sequence', direction: 'asc' } },
    });
    expect(page.data).toEqual([
      expect.objectContaining({ id: made.results[1]?.id, action, status: 'failure' }),
    ]);
    expect(page.pagination).toMatchObject({ limit: 10, offset: 0, total: 1, totalIsExact: true });
    expect(page.cacheInfo).toMatchObject({ cached: false, ttl: expect.any(Number) });
  });

  it('goes on by cursor', async () => {
    await client().bulkCreateAuditEvents.mutate({
      events: [1, 2, 3].map(() => event({ action: 'paged' })),
    });
    const filter = { actions: ['paged'] };
    const first = await client().getOptimizedAuditEvents.query({
      filter,
      pagination: { limit: 2 },
    });
    const cursor = first.pagination.nextCursor;
    const second = await client().getOptimizedAuditEvents.query({
      filter,
      pagination: { limit: 2, offset: 0, cursor },
    });
    const ids = [...first.data, ...second.data].map(({ id }) => id);
    expect(new Set(ids).size).toBe(Math.min(4, first.pagination.total ?? 0));
  });

  it('says whether a page was kept, and does without the cache when asked', async () => {
    const search = { filter: { actions: [`kept.${isStreaming}`] }, cacheTTL: 77 };
    const ask = (useCache?: boolean) =>
      client().getOptimizedAuditEvents.query({ ...search, useCache });
    expect((await ask()).cacheInfo).toMatchObject({ cached: false, ttl: 77 });
    expect((await ask()).cacheInfo).toMatchObject({ cached: true, ttl: 77 });
    expect((await ask(false)).cacheInfo.cached).toBe(false);
  });

  it('reads figures, and runs the operations', async () => {
    const performance = client();
    const { cacheOperations, databaseOptimization } = performance;
    expect(await performance.getMetrics.query()).toMatchObject({
      percentiles: { p50: expect.any(Number) },
    });
    expect(await performance.getHealthStatus.query()).toMatchObject({
      status: expect.stringMatching(/healthy|warning|critical/),
    });
    expect(await performance.getAlerts.query()).toEqual(expect.any(Array));
    expect(await performance.getAlerts.query({ severity: 'LOW', state: 'active' })).toEqual([]);
    expect(await cacheOperations.getStats.query()).toMatchObject({ entries: expect.any(Number) });
    expect(await cacheOperations.warmUp.mutate()).toMatchObject({ failed: 0 });
    expect(await cacheOperations.warmUp.mutate({ preloadDays: 1 })).toMatchObject({ failed: 0 });
    const pattern = 'audit_events*';
    expect(await cacheOperations.invalidate.mutate({ pattern })).toMatchObject({
      pattern,
      invalidated: expect.any(Number),
    });
    expect(await databaseOptimization.getReport.query()).toMatchObject({
      connectionPool: { totalConnections: expect.any(Number) },
    });
    expect(await databaseOptimization.getHealthStatus.query()).toMatchObject({
      overall: expect.any(String),
    });
    expect(await databaseOptimization.optimize.mutate()).toMatchObject({
      configOptimization: expect.any(Array),
    });
  });

  it('gets each violation of its input by path', async () => {
    const call = client().bulkCreateAuditEvents.mutate({
      events: [event(), event({ status: 'done', extra: 1 })],
    });
    const { message, data } = await failureOfCall(call);
    expect(data).toMatchObject({
      code: 'BAD_REQUEST',
      kind: 'VALIDATION_FAILED',
      httpStatus: 400,
      path: 'performance.bulkCreateAuditEvents',
      requestId: expect.any(String),
      errors: [
        { path: 'events[1].extra', message: expect.stringContaining('not a known property') },
        { path: 'events[1].status', message: expect.any(String) },
      ],
    });
    expect(message).toContain('events[1].extra');
    expect(JSON.stringify(data)).not.toContain('stack');
  });

  it.each([
    ['no token', undefined, {}, 'UNAUTHENTICATED UNAUTHORIZED 401'],
    ['a lacking scope', 'performance:read', {}, 'FORBIDDEN FORBIDDEN 403'],
    ['a lacking scope before a bad input', 'audit:write', { limit: 0 }, 'FORBIDDEN FORBIDDEN 403'],
    ['a bad cursor', 'audit:read', { cursor: 'x' }, 'INVALID_CURSOR BAD_REQUEST 400'],
  ])('is refused for %s', async (_case, scope, pagination, expected) => {
    const own = scope && (await tokenOf({ scope, organizations: [organization] }));
    const call = trpcClient(service.url, own, { isStreaming });
    const { data } = await failureOfCall(
      call.performance.getOptimizedAuditEvents.query({ pagination }),
    );
    expect(`${data?.kind} ${data?.code} ${data?.httpStatus}`).toBe(expected);
  });
});

describe('the tRPC adapter', () => {
  const path = '/trpc/performance.getOptimizedAuditEvents';
  const bulk = '/trpc/performance.bulkCreateAuditEvents';

  it('keeps the digits of numbers, in and out', async () => {
    const written =
      `{"events":[{"organizationId":"${organization}","action":"exact","status":"success",` +
      `"metadata":{"big":9223372036854775807,"wide":1.50,"in":[{"metadata":-0}]}}]}`;
    const made = await service.post(bulk, token, written);
    expect(made.status).toBe(200);
    const input = encodeURIComponent('{"filter":{"actions":["exact"]}}');
    const kept = '"metadata":{"big":9223372036854775807,"wide":1.50,"in":[{"metadata":-0}]}';
    expect((await service.get(`${path}?input=${input}`, token)).text).toContain(kept);
    const batched = encodeURIComponent('{"0":{"filter":{"actions":["exact"]}}}');
    const streamed = await service.get(`${path}?batch=1&input=${batched}`, token, {
      'trpc-accept': 'application/jsonl',
    });
    expect(streamed.text).toContain(kept);
  });

  it.each([
    ['application/jsonl', true],
    ['application/jsonl; charset=utf-8', true],
    ['text/html, application/jsonl;q=0.5', true],
    ['application/json; charset=utf-8', false],
    ['application/jsonl;q=0, application/json', false],
    ['*', false],
  ])('for Accept: %s sends a batch in lines: %s', async (accept, isInLines) => {
    const batch = '/trpc/performance.getMetrics,performance.getMetrics?batch=1&input={}';
    const answer = await service.get(batch, token, { accept });
    expect(answer.status).toBe(200);
    expect(answer.text.startsWith('[')).toBe(!isInLines);
  });

  it('answers with the status and the headers of the failure', async () => {
    const none = await service.get(path);
    expect(none.status).toBe(401);
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer realm=/);
    expect(none.json.error.data.requestId).toBe(none.headers.get('x-request-id'));
    const twice = await service.get(`${path},performance.getMetrics?batch=1&input={}`);
    expect(twice.status).toBe(401);
    expect(twice.json).toHaveLength(2);
  });

  const overlong = Array(1001).fill('a').join(',');

  it.each([
    ['an unknown procedure', '/trpc/performance.nothing', '404 NOT_FOUND'],
    ['a mutation by GET', bulk, '405 METHOD_NOT_ALLOWED'],
    ['broken input', `${path}?input={`, '400 MALFORMED_JSON'],
    ['input that is no object', `${path}?input=[]`, '400 VALIDATION_FAILED'],
    ['a number for a query', '/trpc/performance.getAlerts?input=5', '400 VALIDATION_FAILED'],
    ['a batch of a thousand and one', `/trpc/${overlong}?batch=1`, '400 VALIDATION_FAILED'],
  ])('refuses %s', async (_case, target, expected) => {
    const answer = await service.get(target, token);
    expect(`${answer.status} ${answer.json?.error?.data?.kind}`).toBe(expected);
    expect(answer.json.error.data.requestId).toBe(answer.headers.get('x-request-id'));
    expect(answer.text).not.toMatch(/node_modules|stack/);
  });

  it.each([
    ['bulkCreateAuditEvents', 'send { "events": [...] }'],
    ['cacheOperations.warmUp', 'send { "organizationIds": [...] }'],
    ['cacheOperations.invalidate', 'send one object; allowed members: pattern'],
    ['getOptimizedAuditEvents', 'allowed members: filter, pagination'],
    ['getAlerts', 'allowed members: severity, state'],
  ])('tells a call of %s with an array as its input what to send', async (name, advice) => {
    const answers = await Promise.all([
      service.post(`/trpc/performance.${name}`, token, [event()]),
      service.post(`/trpc/performance.${name}?batch=1`, token, { 0: [event()] }),
    ]);
    for (const { json } of answers) {
      const [{ error }] = [json].flat() as [
        { error: { data: { errors: { path: string; message: string }[] } } },
      ];
      expect(error.data.errors[0]).toEqual({
        path: '',
        message: expect.stringContaining(`must be a JSON object, not an array; `),
      });
      expect(error.data.errors[0]?.message).toContain(advice);
    }
  });

  it('says how many calls a batch may have', async () => {
    const answer = await service.get(`/trpc/${overlong}?batch=1`, token);
    expect(answer.json.error.data.errors).toEqual([
      { path: '', message: expect.stringMatching(/^must be at most 100 calls/) },
    ]);
  });

  it.each([true, false])(
    'takes twelve calls of a stock batch link (in lines: %s)',
    async (isStreaming) => {
      const client = trpcClient(service.url, token, { isStreaming });
      const pages = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          client.performance.getOptimizedAuditEvents.query({ pagination: { limit: index + 1 } }),
        ),
      );
      expect(pages.map(({ pagination }) => pagination.limit)).toEqual(
        [...pages.keys()].map((at) => at + 1),
      );
    },
  );

  it('fails one call too many alone', async () => {
    const hundredAndOne = Array(101).fill('performance.getMetrics').join(',');
    const { status, json } = await service.get(`/trpc/${hundredAndOne}?batch=1`, token);
    const answers = json as { error?: { data: { kind: string } } }[];
    expect(status).toBe(207);
    expect(answers.map(({ error }) => error?.data.kind ?? 'OK')).toEqual([
      ...Array<string>(100).fill('OK'),
      'VALIDATION_FAILED',
    ]);
  });

  it.each([
    ['broken JSON', '{', 'application/json', '400 MALFORMED_JSON'],
    ['a member twice', '{"events":[],"events":[]}', 'application/json', '400 VALIDATION_FAILED'],
    ['another type', 'x', 'text/plain', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['a file', 'x', 'application/octet-stream', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['eleven megabytes', `"${'x'.repeat(11 << 20)}"`, 'application/json', '413 REQUEST_TOO_LARGE'],
  ])('refuses a body of %s', async (_case, body, type, expected) => {
    const headers = { 'content-type': type };
    const answer = await service.request('POST', bulk, { token, body, headers });
    expect(`${answer.status} ${answer.json?.error?.data?.kind}`).toBe(expected);
    expect(answer.json.error.data.requestId).toBe(answer.headers.get('x-request-id'));
  });

  it('reads no body of a request without a token', async () => {
    const answer = await service.request('POST', bulk, { body: '{' });
    expect(answer.json.error.data.kind).toBe('UNAUTHENTICATED');
  });

  it('takes a query by POST when its input is too long for a URL', async () => {
    const principalIds = Array.from({ length: 1000 }, () => randomUUID());
    const answer = await service.post(path, token, { filter: { principalIds } });
    expect(answer.json.result.data.data).toEqual([]);
  });

  it('gives a repeated write its first response', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const write = (action: string) =>
      service.post(bulk, token, { events: [event({ action })] }, headers);
    const [first, again] = [await write('once'), await write('once')];
    expect(again.text).toBe(first.text);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await write('twice');
    expect([other.status, other.json.error.data.kind]).toEqual([422, 'IDEMPOTENCY_MISMATCH']);
  });

  it.each([',', '%2C', '%2c'])(
    'takes a key for no batch, its calls parted by %s',
    async (comma) => {
      const batch = await service.post(
        `${bulk}${comma}performance.bulkCreateAuditEvents?batch=1`,
        token,
        { 0: { events: [event()] }, 1: { events: [event()] } },
        { 'idempotency-key': randomUUID() },
      );
      expect(batch.json[0].error.data.errors).toEqual([
        { path: 'Idempotency-Key', message: expect.any(String) },
      ]);
    },
  );

  it.each(['%', '%ZZ', '%E0%A4'])('refuses a path with the bad escape %s', async (escape) => {
    const answer = await service.get(`/trpc/performance.getMetrics${escape}?batch=1`, token);
    expect([answer.status, answer.json.error.data.kind]).toEqual([400, 'VALIDATION_FAILED']);
  });

  it('keeps the calls of a batch apart', async () => {
    const paths = 'performance.getMetrics,performance.nothing,performance.getOptimizedAuditEvents';
    const own = await tokenOf({ scope: 'audit:read', organizations: [organization] });
    const answer = await service.get(`/trpc/${paths}?batch=1&input={}`, own);
    expect(answer.status).toBe(207);
    const answers = answer.json as { error?: { data: { kind: string } } }[];
    const kinds = answers.map(({ error }) => error?.data.kind ?? 'OK');
    expect(kinds).toEqual(['FORBIDDEN', 'NOT_FOUND', 'OK']);
  });

  it('is counted by procedure', async () => {
    await service.get('/trpc/performance.getMetrics', token);
    const { text } = await service.get('/metrics');
    expect(text).toContain('route="trpc performance.getMetrics"');
    expect(text).not.toContain('performance.nothing');
    await service.get('/trpc/performance.nothing', token);
    await service.request('PUT', '/trpc/performance.nothing', { token });
    const counted = (await service.get('/metrics')).text;
    expect(counted).toContain('route="trpc",status="404"');
    expect(counted).toContain('route="trpc",status="405"');
  });

  it('names procedures once in the log, and none that a client has made up', async () => {
    const debug = jest.spyOn(Logger.prototype, 'debug').mockImplementation(() => undefined);
    await service.get('/trpc/performance.getMetrics');
    await service.get('/trpc/performance.nothing', token);
    await service.get(`/trpc/${overlong}?batch=1`, token);
    const lines = debug.mock.calls.map(([line]) => String(line).replace(/ \[.*/, ''));
    debug.mockRestore();
    expect(lines.filter((line) => line.startsWith('trpc'))).toEqual([
      'trpc performance.getMetrics -> 401 UNAUTHENTICATED',
      'trpc -> 404 NOT_FOUND',
      'trpc batch -> 400 VALIDATION_FAILED',
    ]);
  });

  it('shares its cache with REST', async () => {
    await service.post(
      EVENTS,
      token,
      eventWith({ organizationId: organization, action: 'shared' }),
    );
    await service.get(`${EVENTS}?actions=shared&include_total=true`, token);
    const page = await trpcClient(service.url, token).performance.getOptimizedAuditEvents.query({
      filter: { actions: ['shared'] },
    });
    expect(page.data).toHaveLength(1);
    expect(page.cacheInfo.cached).toBe(true);
  });
});
