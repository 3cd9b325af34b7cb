import { randomUUID } from 'node:crypto';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { storableText } from '../support/event-arbitraries';
import { expectProblem, expectTimed, pathsOf } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import { EVENTS, eventWith, listText, TestService, tokenOf } from '../support/test-service';

const BULK = `${EVENTS}/bulk`;
const JSON_TYPE = { 'content-type': 'application/json' };
const MB = 1024 * 1024;

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf({ organizations: ['*'] });
});

afterAll(() => service.stop());

/** Nothing that is refused may be stored. */
afterEach(async () => {
  const { json } = await service.get(`${EVENTS}?actions=refused&include_total=true`, token);
  expect(json.pagination.total).toBe(0);
});

const refusedEvent = (members: Record<string, unknown> = {}) =>
  eventWith({ action: 'refused', ...members });

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
    ['start_date=2026-01-01T00:00:00.1234567Z', 'start_date'],
    ['start_date=2026-01-01T00:00:00Z;', 'start_date'],
    ['start_date=yesterday', 'start_date'],
    ['start_date=1767225600', 'start_date'],
    ['start_date=infinity', 'start_date'],
    ['end_date=', 'end_date'],
    ['end_date=2026-01-01T00:00:00%2B25:00', 'end_date'],
    ['actions=', 'actions'],
    ['actions=,', 'actions[0]'],
    ['actions=a,', 'actions[1]'],
    ['actions=a&actions=b', 'actions'],
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

  it.each(['start_date', 'end_date'])('%s may be any instant there is', async (name) => {
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
        expect({ date, rest, text: answer.text, status: answer.status }).toMatchObject({
          status: 200,
        });
      }
    }
  });

  it.each(['%', '%ZZ', '%E0%A4', '%FF', '%C0%80', '%ED%A0%80'])(
    'that holds %s is refused',
    async (text) => {
      for (const query of [`actions=${text}`, `limit=${text}`, `${text}=1`]) {
        expectProblem(await service.get(`${EVENTS}?${query}`, token), 400, 'VALIDATION_FAILED');
      }
      expectProblem(await service.get(`${EVENTS}/${text}`, token), 400, 'VALIDATION_FAILED');
    },
  );

  it('with every fault at once names them all', async () => {
    const answer = await service.get(`${EVENTS}?limit=0&offset=x&what=1&statuses=no`, token);
    expect(pathsOf(answer).sort()).toEqual(['limit', 'offset', 'statuses[0]', 'what']);
  });

  it('of one event is refused too', async () => {
    const path = `${EVENTS}/${randomUUID()}`;
    for (const query of ['limit=5', 'organization_ids=', 'organization_ids=a&organization_ids=b']) {
      expectProblem(await service.get(`${path}?${query}`, token), 400, 'VALIDATION_FAILED');
    }
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

describe('a body', () => {
  const good = JSON.stringify(refusedEvent());

  it.each<[string, string | Uint8Array]>([
    ['empty', ''],
    ['white space', ' \n'],
    ['no JSON', 'action=refused'],
    ['cut off', good.slice(0, -1)],
    ['two values', `${good}${good}`],
    ['with a trailing comma', good.replace('}', ',}')],
    ['with a comment', `/* */${good}`],
    ['with single quotes', good.replaceAll('"', "'")],
    ['with a raw line break in a string', good.replace('refused', 'ref\nused')],
    ['with NaN', good.replace('}', ',"metadata":{"a":NaN}}')],
    ['with a leading zero', good.replace('}', ',"metadata":{"a":01}}')],
    ['with two byte-order marks', `\ufeff\ufeff${good}`],
    ['in UTF-16 with a mark', Buffer.from(`\ufeff${good}`, 'utf16le')],
    ['in UTF-16 without', Buffer.from(good, 'utf16le')],
    ['in UTF-32', Buffer.from([...good].flatMap((letter) => [letter.charCodeAt(0), 0, 0, 0]))],
    [
      'with an invalid byte',
      Buffer.concat([Buffer.from(good.slice(0, -2)), Buffer.from([0xff]), Buffer.from('"}')]),
    ],
    [
      'with an overlong slash',
      Buffer.concat([Buffer.from(good.slice(0, -2)), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
    ],
    [
      'with an encoded surrogate',
      Buffer.concat([
        Buffer.from(good.slice(0, -2)),
        Buffer.from([0xed, 0xa0, 0x80]),
        Buffer.from('"}'),
      ]),
    ],
    ['nested 100 000 deep and open', '['.repeat(100_000)],
    ['nested 5 000 000 objects deep and open', '{"a":'.repeat(MB)],
  ])('that is %s is MALFORMED_JSON', async (_, body) => {
    for (const path of [EVENTS, BULK])
      expectProblem(await service.post(path, token, body, JSON_TYPE), 400, 'MALFORMED_JSON');
  });

  it.each([
    ['null', 'null'],
    ['text', '"text"'],
    ['a number', '1e400'],
    ['true', 'true'],
    ['a list', `[${good}]`],
    ['an empty list', '[]'],
    ['an empty object', '{}'],
    ['a list nested 100 000 deep', '['.repeat(100_000) + ']'.repeat(100_000)],
    [
      'metadata nested 100 000 deep',
      good.replace('}', `,"metadata":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`),
    ],
    [
      'a session nested 100 000 deep',
      good.replace(
        '}',
        `,"sessionContext":{"sessionId":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`,
      ),
    ],
    [
      'an action nested 100 000 deep with an odd number',
      `{"action":${'[1.0,'.repeat(100_000)}0${']'.repeat(100_000)}}`,
    ],
  ])('that is %s is VALIDATION_FAILED', async (_, body) => {
    for (const path of [EVENTS, BULK])
      expectProblem(await service.post(path, token, body), 400, 'VALIDATION_FAILED');
  });

  it('with one byte-order mark is read', async () => {
    const answer = await service.post(EVENTS, token, `\ufeff${JSON.stringify(eventWith())}`);
    expect(answer.status).toBe(201);
  });

  it.each<[string, Record<string, string>]>([
    ['text/plain', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['JSON in Latin-1', { 'content-type': 'application/json; charset=iso-8859-1' }],
    ['JSON in UTF-16', { 'content-type': 'application/json;charset="utf-16"' }],
    ['JSON in UTF-7', { 'content-type': 'application/json; charset=UTF-7' }],
    ['jsonp', { 'content-type': 'application/jsonp' }],
    ['no type', { 'content-type': '' }],
    ['an unknown encoding', { ...JSON_TYPE, 'content-encoding': 'snappy' }],
    ['a doubled encoding', { ...JSON_TYPE, 'content-encoding': 'gzip, gzip' }],
  ])('announced as %s is 415', async (_, headers) => {
    for (const path of [EVENTS, BULK])
      expectProblem(await service.post(path, token, good, headers), 415, 'UNSUPPORTED_MEDIA_TYPE');
  });

  it('is taken with parameters, in any case, and compressed', async () => {
    const event = JSON.stringify(eventWith({ metadata: { text: 'ä'.repeat(1000) } }));
    const sent: [Record<string, string>, string | Uint8Array][] = [
      [{ 'content-type': 'Application/JSON; Charset="UTF-8"' }, event],
      [{ 'content-type': 'application/cloudevents+json' }, event],
      [{ ...JSON_TYPE, 'content-encoding': 'gzip' }, gzipSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'GZIP' }, gzipSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'deflate' }, deflateSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'br' }, brotliCompressSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'identity' }, event],
    ];
    for (const [headers, body] of sent) {
      const { status, json } = await service.post(EVENTS, token, body, headers);
      expect({ headers, status, text: json.metadata?.text }).toEqual({
        headers,
        status: 201,
        text: 'ä'.repeat(1000),
      });
    }
  });

  it.each<[string, string, Uint8Array]>([
    ['gzip', 'that is none', Buffer.from(good)],
    ['gzip', 'that is cut off', gzipSync(good).subarray(0, -12)],
    [
      'gzip',
      'with a wrong checksum',
      Buffer.concat([gzipSync(good).subarray(0, -8), Buffer.alloc(8)]),
    ],
    ['deflate', 'that is none', Buffer.from(good)],
    ['br', 'that is none', Buffer.from(good)],
    ['br', 'that is cut off', brotliCompressSync(good).subarray(0, -4)],
  ])('with %s %s is MALFORMED_JSON', async (encoding, _, body) => {
    const headers = { ...JSON_TYPE, 'content-encoding': encoding };
    expectProblem(await service.post(EVENTS, token, body, headers), 400, 'MALFORMED_JSON');
  });

  it('of more than REQUEST_MAX_SIZE_MB is 413: plain, in chunks, and as what it inflates to', async () => {
    const large = Buffer.from(`{"action":"refused","organizationId":"${'x'.repeat(11 * MB)}"}`);
    const bomb = Buffer.alloc(200 * MB, ' ');
    const head = `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nConnection: close\r\n`;
    const [plain] = await sendRaw(
      service.port,
      `${head}Content-Length: ${large.length}\r\n\r\n`,
      large,
    );
    const chunk = Buffer.alloc(MB, ' ');
    const chunked = Array.from({ length: 11 }, () => [
      `${MB.toString(16)}\r\n`,
      chunk,
      '\r\n',
    ]).flat();
    const [inChunks] = await sendRaw(
      service.port,
      `${head}Transfer-Encoding: chunked\r\n\r\n`,
      ...chunked,
      '0\r\n\r\n',
    );
    for (const answer of [plain, inChunks]) {
      if (!answer) throw new Error('No answer');
      expectProblem(answer, 413, 'REQUEST_TOO_LARGE');
    }
    for (const [encoding, body] of [
      ['gzip', gzipSync(bomb)],
      ['br', brotliCompressSync(bomb.subarray(0, 20 * MB))],
    ] as const) {
      const headers = { ...JSON_TYPE, 'content-encoding': encoding };
      expectProblem(await service.post(EVENTS, token, body, headers), 413, 'REQUEST_TOO_LARGE');
    }
  }, 60_000);

  it('with millions of bad events is refused in an answer of bearable size', async () => {
    const events = `{"events":[${'0,'.repeat(2 * MB)}0]}`;
    const answer = await service.post(BULK, token, events);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.text.length).toBeLessThan(5 * MB);
  }, 60_000);

  it('with a thousand unknown members, or very long names, is refused in a short answer', async () => {
    const unknown = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [`${index}${'n'.repeat(500)}`, 1]),
    );
    const answer = await service.post(EVENTS, token, refusedEvent(unknown));
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.text.length).toBeLessThan(20_000);
  });
});

describe('a member of an event', () => {
  const TEXTS: Record<string, number> = {
    organizationId: 255,
    principalId: 255,
    action: 255,
    targetResourceType: 255,
    targetResourceId: 255,
    outcomeDescription: 10_000,
    correlationId: 255,
    'sessionContext.sessionId': 255,
    'sessionContext.ipAddress': 10_000,
    'sessionContext.userAgent': 10_000,
    'sessionContext.geolocation': 10_000,
  };
  const put = (path: string, value: unknown): Record<string, unknown> => {
    const [first = '', second] = path.split('.');
    return { [first]: second === undefined ? value : { [second]: value } };
  };
  const send = (path: string, value: unknown, rest: Record<string, unknown> = {}) =>
    service.post(EVENTS, token, eventWith({ ...rest, ...put(path, value) }));

  it.each(Object.entries(TEXTS))('%s holds %d characters and no more', async (path, max) => {
    for (const letter of ['x', 'é', '漢', '😀']) {
      expect((await send(path, letter.repeat(max))).status).toBe(201);
      const refused = await send(path, letter.repeat(max + 1));
      expectProblem(refused, 400, 'VALIDATION_FAILED');
      expect(pathsOf(refused)).toEqual([path]);
    }
  });

  it.each(Object.keys(TEXTS))(
    '%s refuses NUL, lone surrogates and what is no text',
    async (path) => {
      for (const bad of [
        '\0',
        'a\0b',
        '\ud800',
        'x\udc00',
        '\udc00\ud800',
        1,
        true,
        {},
        [],
        ['x'],
      ]) {
        const refused = await send(path, bad);
        expectProblem(refused, 400, 'VALIDATION_FAILED');
        expect(pathsOf(refused)).toEqual([path]);
      }
    },
  );

  it('of free text round-trips, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        storableText(255),
        fc.constantFrom(...Object.keys(TEXTS)),
        async (text, path) => {
          const { status, json } = await send(path, text, { id: randomUUID() });
          const mustNotBeEmpty = path === 'organizationId' || path === 'action';
          if ((text === '' && mustNotBeEmpty) || (text === '*' && path === 'organizationId')) {
            expect(status).toBe(400);
            return;
          }
          expect(status).toBe(201);
          const [first = '', second] = path.split('.');
          expect(second === undefined ? json[first] : json[first][second]).toBe(text);
          const organization = encodeURIComponent(listText([json.organizationId]));
          const read = await service.get(
            `${EVENTS}/${json.id}?organization_ids=${organization}`,
            token,
          );
          expect(read.json).toEqual(json);
        },
      ),
      { numRuns: 200 },
    );
  }, 60_000);

  it('can be looked for with any text', async () => {
    await fc.assert(
      fc.asyncProperty(
        storableText(60).filter((text) => text !== ''),
        async (text) => {
          const { status, json } = await service.post(
            EVENTS,
            token,
            eventWith({ principalId: text, correlationId: text }),
          );
          expect(status).toBe(201);
          const listed = encodeURIComponent(listText(['nobody', text]));
          const path = `${EVENTS}?principal_ids=${listed}&correlation_ids=${listed}&sort_field=sequence&limit=1&organization_ids=org-1`;
          expect((await service.get(path, token)).json.data).toEqual([json]);
        },
      ),
      { numRuns: 100 },
    );
  }, 60_000);

  it.each<[string, unknown, string]>([
    ['status', 'SUCCESS', 'status'],
    ['status', '', 'status'],
    ['status', null, 'status'],
    ['action', null, 'action'],
    ['action', '', 'action'],
    ['organizationId', null, 'organizationId'],
    ['organizationId', '*', 'organizationId'],
    ['organizationId', '', 'organizationId'],
    ['dataClassification', 'SECRET', 'dataClassification'],
    ['dataClassification', 3, 'dataClassification'],
    ['id', 'x', 'id'],
    ['id', '{0198c1f2-3e4a-7000-8000-1234567890ab}', 'id'],
    ['id', '0198c1f23e4a700080001234567890ab', 'id'],
    ['id', 1, 'id'],
    ['timestamp', '2026-02-30T00:00:00Z', 'timestamp'],
    ['timestamp', '2026-02-20', 'timestamp'],
    ['timestamp', '2026-02-20T00:00:00', 'timestamp'],
    ['timestamp', '2026-02-20T00:00:00.1234567Z', 'timestamp'],
    ['timestamp', '1969-12-31T23:59:59.999999Z', 'timestamp'],
    ['timestamp', '9999-12-31T23:59:59Z', 'timestamp'],
    ['timestamp', 1_700_000_000_000, 'timestamp'],
    ['timestamp', 'now', 'timestamp'],
    ['metadata', [], 'metadata'],
    ['metadata', 'text', 'metadata'],
    ['metadata', 1, 'metadata'],
    ['sessionContext', [], 'sessionContext'],
    ['sessionContext', 'text', 'sessionContext'],
    ['sessionContext', { other: 1 }, 'sessionContext.other'],
    ['sequence', '1', 'sequence'],
    ['recordedAt', '2026-01-01T00:00:00Z', 'recordedAt'],
    ['odd name', 1, '["odd name"]'],
    ['constructor', {}, 'constructor'],
  ])('%s that is %p is refused', async (name, value, path) => {
    const refused = await service.post(EVENTS, token, { ...refusedEvent(), [name]: value });
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(pathsOf(refused)).toEqual([path]);
    const inBulk = await service.post(BULK, token, {
      events: [refusedEvent(), { ...refusedEvent(), [name]: value }],
    });
    expect(pathsOf(inBulk)).toEqual([
      path.startsWith('[') ? `events[1]${path}` : `events[1].${path}`,
    ]);
  });

  it('named __proto__ is unknown, and does no harm', async () => {
    const refused = await service.post(
      EVENTS,
      token,
      '{"__proto__":{"organizationId":"org-1","action":"refused","status":"success"}}',
    );
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(pathsOf(refused).sort()).toEqual(['__proto__', 'action', 'organizationId', 'status']);
  });

  it.each([
    ['{"a":"\\u0000"}', 'metadata.a'],
    ['{"a":[0,{"b":"\\ud800"}]}', 'metadata.a[1].b'],
    ['{"a":{"\\u0000":1}}', 'metadata.a["\\u0000"]'],
    ['{"\\udfff":1}', 'metadata["\\udfff"]'],
    ['{"__proto__":{"x":"\\u0000"}}', 'metadata.__proto__.x'],
    ['{"n":1.0,"a":"\\u0000"}', 'metadata.a'],
  ])('metadata %s is refused at its path', async (metadata, path) => {
    const refused = await service.post(
      EVENTS,
      token,
      JSON.stringify(refusedEvent()).replace(/}$/, `,"metadata":${metadata}}`),
    );
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(pathsOf(refused)).toEqual([path]);
  });

  it('metadata holds 256 KiB of UTF-8 and 32 levels, no byte and no level more', async () => {
    const sized = (bytes: number) => ({ a: `é${'x'.repeat(bytes - 10)}` });
    expect(Buffer.byteLength(JSON.stringify(sized(256 * 1024)))).toBe(256 * 1024);
    expect((await send('metadata', sized(256 * 1024))).status).toBe(201);
    expect(pathsOf(await send('metadata', sized(256 * 1024 + 1)))).toEqual(['metadata']);
    const nested = (levels: number, open: string, close: string) =>
      JSON.parse(`{"a":${open.repeat(levels - 1)}1${close.repeat(levels - 1)}}`);
    for (const [open, close] of [
      ['[', ']'],
      ['{"b":', '}'],
    ] as const) {
      const deepest = await send('metadata', nested(32, open, close));
      expect(deepest.status).toBe(201);
      expect((await service.get(`${EVENTS}/${deepest.json.id}`, token)).text).toBe(deepest.text);
      expectProblem(await send('metadata', nested(33, open, close)), 400, 'VALIDATION_FAILED');
    }
  });
});

describe('a request', () => {
  it.each(['text/html', 'application/xml', 'image/*', 'application/json;q=0'])(
    'that accepts only %s is 406',
    async (accept) => {
      expectProblem(await service.get(EVENTS, token, { accept }), 406, 'NOT_ACCEPTABLE');
      expectProblem(
        await service.post(EVENTS, token, refusedEvent(), { accept }),
        406,
        'NOT_ACCEPTABLE',
      );
    },
  );

  it.each([
    '*/*',
    'application/*',
    'text/html, application/json;q=0.1',
    'Application/JSON',
    'application/problem+json, */*;q=0.1',
  ])('that accepts %s is served', async (accept) => {
    expect((await service.get(EVENTS, token, { accept })).status).toBe(200);
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
    '/',
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
      417,
    ],
  ])('that is %s is answered with a problem', async (_, bytes, status) => {
    const [answer] = await sendRaw(service.port, Buffer.from(bytes, 'latin1'));
    if (!answer) throw new Error('No answer');
    expectProblem(answer, status, status === 431 ? 'HEADERS_TOO_LARGE' : 'VALIDATION_FAILED');
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
