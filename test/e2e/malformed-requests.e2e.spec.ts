import { randomUUID } from 'node:crypto';
import { expectProblem, expectTimed, pathsOf } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import { EVENTS, type TestService, tokenOf } from '../support/test-service';
import { refusedEvent, useRefusingService } from './refused.fixture';

const refusing = useRefusingService();
let service: TestService;
let token: string;

let operator: string;
let exporter: string;

beforeAll(async () => {
  ({ service, token } = refusing);
  operator = await tokenOf({ organizations: ['*'], scope: 'audit:read performance:read' });
  exporter = await tokenOf({ organizations: ['*'], scope: 'audit:read audit:export' });
});

describe('a malformed query', () => {
  it.each([
    ['limit=0', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1e3', 'limit'],
    ['limit=0x10', 'limit'],
    ['limit=5.0', 'limit'],
    ['limit=%2B5', 'limit'],
    ['limit=+5', 'limit'],
    ['limit=%205', 'limit'],
    ['limit=5%20', 'limit'],
    ['limit=٥', 'limit'],
    ['limit=', 'limit'],
    ['limit', 'limit'],
    ['limit=99999999999999999999', 'limit'],
    ['limit=NaN', 'limit'],
    ['limit=null', 'limit'],
    ['limit=5&limit=5', 'limit'],
    ['limit[]=5', 'limit[]'],
    ['offset=-1', 'offset'],
    ['offset=100001', 'offset'],
    ['offset=1e2', 'offset'],
    ['offset=9007199254740993', 'offset'],
    ['offset=0&cursor=abc', 'offset'],
    ['sort_field=action', 'sort_field'],
    ['sort_field=TIMESTAMP', 'sort_field'],
    ['sort_field=timestamp;', 'sort_field'],
    ['sort_direction=up', 'sort_direction'],
    ['include_total=1', 'include_total'],
    ['include_total=TRUE', 'include_total'],
    ['start_date=2026-02-30', 'start_date'],
    ['start_date=2026-02-29', 'start_date'],
    ['start_date=2026-13-01', 'start_date'],
    ['start_date=2026-01-01T00:00:00', 'start_date'],
    ['start_date=2026-01-01T24:00:00Z', 'start_date'],
    ['start_date=2026-01-01T00:00:60Z', 'start_date'],
    ['start_date=2026-01-01T00:00:00.1234567891Z', 'start_date'],
    ['start_date=2026-01-01T00:00:00Z;', 'start_date'],
    ['start_date=yesterday', 'start_date'],
    ['start_date=1767225600', 'start_date'],
    ['start_date=infinity', 'start_date'],
    ['end_date=', 'end_date'],
    ['end_date=2026-01-01T00:00:00%2B25:00', 'end_date'],
    ['actions=', 'actions'],
    ['actions=,', 'actions[0]'],
    ['actions=a,', 'actions[1]'],
    ['actions=a&actions=', 'actions[1]'],
    ['statuses=success&statuses=failure,attempt', 'statuses[1]'],
    ['actions[]=a&actions[]=b', 'actions[]'],
    [Array.from({ length: 1001 }, () => 'actions=a').join('&'), 'actions'],
    ['start_date=2026-02-01&end_date=2026-02-01', 'end_date'],
    ['start_date=2026-02-01T00:00:00Z&end_date=2026-02-01T00:00:00%2B00:01', 'end_date'],
    ['end_date=2026-01-01T00:00:00+01:00', 'end_date'],
    [`actions=${'a'.repeat(256)}`, 'actions[0]'],
    [`actions=${Array.from({ length: 1001 }, () => 'a').join(',')}`, 'actions'],
    ['statuses=success,done', 'statuses[1]'],
    ['statuses=SUCCESS', 'statuses[0]'],
    ['data_classifications=phi', 'data_classifications[0]'],
    ['organization_ids=a%00b', 'organization_ids[0]'],
    ['principal_ids=%00', 'principal_ids[0]'],
    ['unknown=1', 'unknown'],
    ['Limit=5', 'Limit'],
    ['limit%00=5', 'limit\0'],
    ['a[b]=1', 'a[b]'],
    ['__proto__=1', '__proto__'],
    ['constructor=1', 'constructor'],
    ['toString=1', 'toString'],
    ['organizationIds=org-1', 'organizationIds'],
  ])('%s is refused and named', async (query, path) => {
    const answer = await service.get(`${EVENTS}?${query}`, token);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toContain(path);
  });

  it.each(['start_date', 'end_date'])(
    '%s at the ends of the calendar is served or refused, never a fault',
    async (name) => {
      for (const date of [
        '0000-01-01',
        '0001-01-01',
        '0000-01-01T00:00:00%2B23:59',
        '1969-12-31',
        '9999-12-31',
        '9999-12-31T23:59:59.999999-23:59',
      ]) {
        for (const rest of [
          '',
          '&sort_direction=asc',
          '&sort_field=sequence',
          '&include_total=true',
          '&organization_ids=org-1',
        ]) {
          const answer = await service.get(`${EVENTS}?${name}=${date}${rest}`, token);
          if (answer.status !== 200) expectProblem(answer, 400, 'VALIDATION_FAILED');
        }
      }
    },
  );

  it.each(['%', '%ZZ', '%E0%A4', '%FF', '%C0%80', '%ED%A0%80'])(
    'that holds %s is refused',
    async (text) => {
      for (const query of [`actions=${text}`, `limit=${text}`, `${text}=1`]) {
        expectProblem(await service.get(`${EVENTS}?${query}`, token), 400, 'VALIDATION_FAILED');
      }
      expectProblem(await service.get(`${EVENTS}/${text}`, token), 400, 'VALIDATION_FAILED');
    },
  );

  it('with the + of an offset unencoded is told how to encode it, wherever an instant stands', async () => {
    const date = '2026-01-01T00:00:00+01:00';
    const after = `/stream?after_id=${randomUUID()}&after_timestamp=`;
    for (const path of ['?start_date=', '?end_date=', '/tail?start_date=', after]) {
      const answer = await service.get(`${EVENTS}${path}${date}`, exporter);
      expectProblem(answer, 400, 'VALIDATION_FAILED');
      expect(answer.json.errors[0].message).toContain('encode + as %2B');
    }
    const good = `${EVENTS}?start_date=${date.replace('+', '%2B')}`;
    expect((await service.get(good, exporter)).status).toBe(200);
  });

  it.each(['', '/stream', '/tail'])(
    'of %s with a range that can hold nothing is refused',
    async (path) => {
      for (const method of ['GET', 'HEAD']) {
        const query = 'start_date=2026-02-02&end_date=2026-02-01';
        const answer = await service.request(method, `${EVENTS}${path}?${query}`, {
          token: exporter,
        });
        expect(answer.status).toBe(400);
      }
    },
  );

  it('with every fault at once names them all', async () => {
    const answer = await service.get(`${EVENTS}?limit=0&offset=x&what=1&statuses=no`, token);
    expect(pathsOf(answer).sort()).toEqual(['limit', 'offset', 'statuses[0]', 'what']);
  });

  it('of one event is refused too', async () => {
    const path = `${EVENTS}/${randomUUID()}`;
    for (const query of ['limit=5', 'organization_ids=', 'organization_ids=a&organization_ids=']) {
      expectProblem(await service.get(`${path}?${query}`, token), 400, 'VALIDATION_FAILED');
    }
  });

  it.each([
    ['a target with raw UTF-8', 'GET /api?a=café HTTP/1.1', 'percent-encode them as UTF-8'],
    ['a target with a space', 'GET /api?a=b c HTTP/1.1', 'spaces in the target as %20'],
    ['a target without a slash', 'GET api HTTP/1.1', 'not a path with a query'],
    ['a method in small letters', 'get / HTTP/1.1', 'a method of HTTP'],
    ['a TLS handshake', '\x16\x03\x01\x02', 'without TLS'],
    ['another version', 'GET / HTTP/2.5', 'The protocol is HTTP/1.1'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM', 'HTTP/2 needs a proxy'],
    ['a bad header name', 'GET / HTTP/1.1\r\nHo st: x', 'A header has a name'],
    ['a bad length', 'POST / HTTP/1.1\r\nContent-Length: 1x', 'Content-Length is not a number'],
    ['two lengths', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2', 'given once'],
  ])('of %s is refused with the reason', async (_, head, reason) => {
    const [answer] = await sendRaw(service.port, `${head}\r\n\r\n`);
    expect(answer?.status).toBe(400);
    expect(answer?.json.code).toBe('VALIDATION_FAILED');
    expect(answer?.json.detail).toContain(reason);
  });

  it('that is longer than a request may be is 431 and a thousand of parameters 400', async () => {
    const [answer] = await sendRaw(
      service.port,
      `GET ${EVENTS}?actions=${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    if (!answer) throw new Error('No answer');
    expectProblem(answer, 431, 'HEADERS_TOO_LARGE');
    const many = Array.from({ length: 3000 }, () => 'a=').join('&');
    expectProblem(await service.get(`${EVENTS}?${many}`, token), 400, 'VALIDATION_FAILED');
    const hidden = `${Array.from({ length: 1000 }, () => 'limit=5').join('&')}&organization_ids=org-1`;
    expectProblem(await service.get(`${EVENTS}?${hidden}`, token), 400, 'VALIDATION_FAILED');
  });
});

describe('a request', () => {
  it.each([
    'text/html',
    'application/xml; a="application/json"',
    'image/*',
    'application/json;q=0',
    'application/json; charset=utf-8; q=0',
    '*;q=0',
  ])('that accepts only %s is 406', async (accept) => {
    expectProblem(await service.get(EVENTS, token, { accept }), 406, 'NOT_ACCEPTABLE');
    expectProblem(
      await service.post(EVENTS, token, refusedEvent(), { accept }),
      406,
      'NOT_ACCEPTABLE',
    );
  });

  it.each([
    '*/*',
    'application/*',
    'text/html, application/json;q=0.1',
    'Application/JSON',
    'application/problem+json, */*;q=0.1',
    'application/json; charset=utf-8',
    'application/json;odata=verbose;q=0.5, text/html',
    'application/json; profile="a, b;q=0", text/html',
    '*',
    'text/html; level=1, *; q=0.2',
    '',
  ])('that accepts %s is served', async (accept) => {
    for (const path of [EVENTS, `${EVENTS}?limit=5`, '/api/v1/performance/metrics']) {
      expect((await service.get(path, operator, { accept })).status).toBe(200);
    }
  });

  it.each([
    ['PUT', EVENTS, 'GET, HEAD, POST'],
    ['DELETE', EVENTS, 'GET, HEAD, POST'],
    ['PATCH', `${EVENTS}/${randomUUID()}`, 'GET, HEAD'],
    ['POST', `${EVENTS}/${randomUUID()}`, 'GET, HEAD'],
    ['POST', '/health/live', 'GET, HEAD'],
  ])('%s %s is 405 with Allow', async (method, path, allow) => {
    const answer = await service.request(method, path, { token, body: refusedEvent() });
    expectProblem(answer, 405, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).toBe(allow);
  });

  it.each([
    '/api',
    '/api/v1',
    '/api/v2/audit/events',
    '/API/v1/audit/event',
    `${EVENTS}/a/b`,
    '/api/v1//audit/events',
    '/../etc/passwd',
    '/%2e%2e/etc/passwd',
    '/health/none',
    '/api/v1/audit/events%00',
  ])('for %s is 404', async (path) => {
    expectProblem(await service.get(path, token), 404, 'NOT_FOUND');
  });

  it('HEAD is as GET without a body', async () => {
    const [get, head] = [
      await service.get(EVENTS, token),
      await service.request('HEAD', EVENTS, { token }),
    ];
    expect({ status: head.status, text: head.text }).toEqual({ status: 200, text: '' });
    for (const name of ['content-type', 'link'])
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    expectTimed(head);
    const absent = await service.request('HEAD', `${EVENTS}/${randomUUID()}`, { token });
    expect({ status: absent.status, text: absent.text }).toEqual({ status: 404, text: '' });
  });

  it.each([
    ['garbage', 'nonsense\r\n\r\n', 400],
    ['binary garbage', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
    ['an unknown method', 'FROB / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['a bad header', 'GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n', 400],
    ['no Host', 'GET /health/live HTTP/1.1\r\n\r\n', 400],
    [
      'two lengths',
      `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
      400,
    ],
    [
      'a length and chunks',
      `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['a header of 100 kB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 431],
    [
      'an unknown expectation',
      'GET /health/live HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nConnection: close\r\n\r\n',
      400,
    ],
  ])('that is %s is answered with a problem', async (_, bytes, status) => {
    const [answer] = await sendRaw(service.port, Buffer.from(bytes, 'latin1'));
    if (!answer) throw new Error('No answer');
    const code = status === 431 ? 'HEADERS_TOO_LARGE' : 'VALIDATION_FAILED';
    expectProblem(answer, status, code);
  });

  it('that is followed by garbage on its connection is still answered', async () => {
    const [first, second] = await sendRaw(
      service.port,
      'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n',
    );
    expect(first?.status).toBe(200);
    if (second) expectProblem(second, 400, 'VALIDATION_FAILED');
  });

  it('that ends before its body does leaves nothing behind', async () => {
    const head = `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`;
    const text = JSON.stringify(refusedEvent());
    const aborted = sendRaw(
      service.port,
      `${head}Content-Length: ${text.length + 1}\r\nConnection: close\r\n\r\n`,
      text,
      'x',
    );
    for (const answer of await aborted) expectProblem(answer, 400, 'MALFORMED_JSON');
    expect((await service.get('/health/live')).status).toBe(200);
  });
});
