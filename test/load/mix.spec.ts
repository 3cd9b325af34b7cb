import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { readProfile, Recording, textOf } from '../../scripts/load/mix.mjs';

const EVENTS = '/api/v1/audit/events';

function line(method: string, route: string, status: number, second = 0, ms = 4): string {
  const timestamp = `2026-11-30T20:00:${String(second).padStart(2, '0')}.000Z`;
  return JSON.stringify({
    level: 'info',
    timestamp,
    context: 'Request',
    method,
    route,
    status,
    ms,
  });
}

function nginx(request: string, status: number, second = '00'): string {
  return `192.0.2.1 - - [30/Nov/2026:21:00:${second} +0100] "${request} HTTP/1.1" ${status} 512 "-" "curl/8"`;
}

function readAccessLog(lines: readonly string[]) {
  const recording = new Recording();
  for (const one of lines) recording.add(one);
  return recording.mix();
}

const operationsOf = (lines: string[]) =>
  readAccessLog(lines).entries.map(({ operation, options }) => [operation, options]);

describe('the mix of an access log', () => {
  it.each([
    ['GET', EVENTS, 200, 'list'],
    ['GET', '/api/v1/performance/audit/events', 200, 'list'],
    ['GET', EVENTS, 304, 'conditional'],
    ['GET', `${EVENTS}/:id`, 200, 'read'],
    ['GET', `${EVENTS}/stream`, 200, 'export'],
    ['POST', EVENTS, 201, 'write'],
    ['POST', EVENTS, 200, 'duplicate'],
    ['POST', `${EVENTS}/bulk`, 201, 'bulk'],
    ['POST', `${EVENTS}/bulk`, 200, 'ingest'],
    ['POST', `${EVENTS}/ingest`, 200, 'ingest'],
    ['POST', 'graphql query optimizedAuditEvents', 200, 'graphql-list'],
    ['POST', 'graphql mutation createAuditEvent', 200, 'graphql-write'],
    ['POST', 'graphql mutation bulkCreateAuditEvents', 200, 'graphql-bulk'],
    ['GET', 'trpc performance.getOptimizedAuditEvents', 200, 'trpc-list'],
    ['POST', 'trpc performance.bulkCreateAuditEvents', 200, 'trpc-bulk'],
  ])('of this service: %s %s %d is %s', (method, route, status, operation) => {
    expect(operationsOf([line(method, route, status)])).toEqual([[operation, {}]]);
  });

  it.each([
    [`GET ${EVENTS}?limit=20`, 200, 'list', { limit: 20 }],
    [`GET ${EVENTS}?limit=20&cursor=abc`, 200, 'page', { limit: 20 }],
    [
      `GET ${EVENTS}?organization_ids=org-9&actions=a%2Cb&limit=5000`,
      200,
      'list',
      { query: { actions: 'a,b' } },
    ],
    [`GET ${EVENTS}?limit=9`, 304, 'conditional', { limit: 9 }],
    [`GET ${EVENTS}/019ab1c2-3e4a-7000-8000-1234567890ab`, 200, 'read', {}],
    [`GET ${EVENTS}/stream?format=csv`, 200, 'export', { format: 'csv' }],
    [`POST ${EVENTS}/bulk`, 201, 'bulk', {}],
    ['POST /graphql', 200, 'graphql-list', {}],
    ['GET /trpc/performance.getOptimizedAuditEvents?input=%7B%7D', 200, 'trpc-list', {}],
  ])('of nginx: %s %d is %s', (request, status, operation, options) => {
    expect(operationsOf([nginx(request, status)])).toEqual([[operation, options]]);
  });

  it('has a weight for each line, its rate and its response times', () => {
    const lines = [
      line('GET', EVENTS, 200, 0, 2),
      line('GET', EVENTS, 200, 1, 8),
      '{"level":"info","message":"The service is ready"}',
      'not a line of a log',
      '{"context":"Request","meth',
      line('POST', EVENTS, 201, 2),
    ];
    const { entries, perSecond } = readAccessLog(lines);
    expect(entries.map(({ name, weight }) => [name, weight])).toEqual([
      ['list', 2],
      ['write', 1],
    ]);
    expect(perSecond).toBe(1.5);
    expect(entries[0]?.recorded?.max).toBe(8);
    expect(
      readAccessLog([nginx(`GET ${EVENTS}`, 200), nginx(`GET ${EVENTS}`, 200, '04')]),
    ).toMatchObject({ perSecond: 0.5 });
  });

  it('counts what cannot be sent again, the most frequent first', () => {
    const { leftOut } = readAccessLog([
      line('GET', '/health/ready', 200),
      line('GET', EVENTS, 403),
      line('GET', '/health/ready', 200),
      line('WS', 'graphql subscription auditEventRecorded', 200),
      line('GET', `${EVENTS}/tail`, 200),
      nginx(`GET ${EVENTS}/019ab1c2-3e4a-7000-8000-1234567890ab`, 404),
      line('GET', EVENTS, 200),
    ]);
    expect(textOf(leftOut)).toBe(
      `2 GET /health/ready 200, 1 GET ${EVENTS} 403, 1 WS graphql subscription auditEventRecorded 200, ` +
        `1 GET ${EVENTS}/tail 200, 1 GET ${EVENTS}/:id 404`,
    );
  });

  it('has no rate when it spans no second', () => {
    expect(readAccessLog([line('GET', EVENTS, 200)]).perSecond).toBeUndefined();
  });

  it.each([
    [['no log at all'], /has no line of an access log/],
    [[], /has no line of an access log/],
    [[line('GET', '/metrics', 200)], /can be sent again, but 1 GET \/metrics 200/],
  ])('is refused of %j', (lines, message) => {
    expect(() => readAccessLog(lines)).toThrow(message);
  });
});

describe('the mix of a profile', () => {
  it('has its operations with their options, named by them', () => {
    const text = JSON.stringify({
      operations: [
        { operation: 'list', weight: 3, limit: 20, query: { statuses: 'failure' } },
        { operation: 'write', weight: 0.5 },
      ],
    });
    expect(readProfile(text).entries).toEqual([
      {
        name: 'list (limit 20, statuses=failure)',
        operation: 'list',
        weight: 3,
        options: { limit: 20, query: { statuses: 'failure' } },
      },
      { name: 'write', operation: 'write', weight: 0.5, options: {} },
    ]);
  });

  it('that is shipped is one', () => {
    const path = resolve(__dirname, '../../scripts/load/mixed.profile.json');
    expect(readProfile(readFileSync(path, 'utf8')).entries.length).toBeGreaterThan(10);
  });

  it.each([
    ['{', /is not JSON/],
    ['null', /operations must be an array/],
    ['{"operations":[]}', /at least one operation/],
    ['{"operations":[1]}', /operations\[0\] must be an object/],
    [
      '{"operations":[{"operation":"toString","weight":1}]}',
      /operations\[0\].operation must be one of list, page/,
    ],
    ['{"operations":[{"operation":"list"}]}', /operations\[0\].weight must be a number above 0/],
    ['{"operations":[{"operation":"list","weight":0}]}', /weight must be a number above 0/],
    [
      '{"operations":[{"operation":"list","weight":1,"events":5}]}',
      /operations\[0\].events is unknown; list has operation, weight, limit, query/,
    ],
    [
      '{"operations":[{"operation":"list","weight":1,"limit":0}]}',
      /limit must be an integer from 1 to 1000/,
    ],
    [
      '{"operations":[{"operation":"list","weight":1,"query":{"a":1}}]}',
      /query must be an object of query parameters/,
    ],
    [
      '{"operations":[{"operation":"bulk","weight":1,"events":10001}]}',
      /events must be an integer from 1 to 10000/,
    ],
    [
      '{"operations":[{"operation":"export","weight":1,"format":"xml"}]}',
      /format must be json, ndjson or csv/,
    ],
  ])('is refused of %s', (text, message) => {
    expect(() => readProfile(text)).toThrow(message);
  });
});
