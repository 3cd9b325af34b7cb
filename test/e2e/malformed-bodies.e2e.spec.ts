import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expectProblem } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import { EVENTS, eventWith, type TestService } from '../support/test-service';
import { refusedEvent, useRefusingService } from './refused.fixture';

const BULK = `${EVENTS}/bulk`;
const JSON_TYPE = { 'content-type': 'application/json' };
const MB = 1024 * 1024;

const refusing = useRefusingService();
let service: TestService;
let token: string;

beforeAll(() => {
  ({ service, token } = refusing);
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

  it('that is an array is told the form for several events', async () => {
    const messageOf = async (path: string, body: unknown) => {
      const { json } = await service.post(path, token, body);
      return json.errors[0] as object;
    };
    const list = [refusedEvent()];
    const toBulk = {
      path: '',
      message: 'must be a JSON object, not an array; send { "events": [...] }',
    };
    expect(await messageOf(BULK, list)).toEqual(toBulk);
    expect(await messageOf(EVENTS, list)).toMatchObject({
      message: expect.stringContaining('to /audit/events/bulk, as { "events": [...] }') as string,
    });
    expect(await messageOf(BULK, { events: [list] })).toEqual({
      path: 'events[0]',
      message: 'must be a JSON object',
    });
  });

  it('of GraphQL that is no operation is told the form of one', async () => {
    for (const body of ['null', '7', '"{ __typename }"']) {
      const { json } = await service.post('/graphql', token, body);
      const [error] = json.errors as { message: string }[];
      expect(error?.message).toMatch(/must be a JSON object, such as \{ "query": /);
    }
    const { json } = await service.post('/graphql', token, '[{"query":"{ __typename }"}]');
    expect(json.errors[0].message).toMatch(/Send one operation a request/);
  });

  it('in no format of a bulk write is told those that there are', async () => {
    for (const type of ['text/csv', 'application/x-protobuf', 'application/json-seq']) {
      const answer = await service.post(BULK, token, good, { 'content-type': type });
      expectProblem(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
      expect(answer.json.detail).toBe(
        'Send the body as Content-Type: application/json, or as application/x-ndjson with one event a line.',
      );
    }
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
      [{ 'content-type': 'application/vnd.example+json' }, event],
      [{ ...JSON_TYPE, 'content-encoding': 'gzip' }, gzipSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'GZIP' }, gzipSync(event)],
      [{ ...JSON_TYPE, 'content-encoding': 'x-gzip' }, gzipSync(event)],
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

  it('with 200 000 bad events is refused in a response of bounded size', async () => {
    const events = `{"events":[${'0,'.repeat(200_000)}0]}`;
    const answer = await service.post(BULK, token, events);
    expect(answer.status).toBe(400);
    expect(answer.text.length).toBeLessThan(5 * MB);
  }, 60_000);

  it('with a thousand unknown members, or very long names, is refused in a short response', async () => {
    const unknown = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [`${index}${'n'.repeat(500)}`, 1]),
    );
    const answer = await service.post(EVENTS, token, refusedEvent(unknown));
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.text.length).toBeLessThan(20_000);
  });
});
