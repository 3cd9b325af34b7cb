import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { storableText } from '../support/event-arbitraries';
import { expectProblem, pathsOf } from '../support/problem';
import { EVENTS, eventWith, listText, type TestService } from '../support/test-service';
import { refusedEvent, useRefusingService } from './refused.fixture';

const BULK = `${EVENTS}/bulk`;

const refusing = useRefusingService();
let service: TestService;
let token: string;

beforeAll(() => {
  ({ service, token } = refusing);
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
    principalType: 64,
    principalName: 255,
    'source.service': 255,
    'source.host': 255,
    'source.version': 255,
    schemaVersion: 32,
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

  it.each(Object.keys(TEXTS))('%s refuses NUL, lone surrogates and non-strings', async (path) => {
    for (const bad of ['\0', 'a\0b', '\ud800', 'x\udc00', '\udc00\ud800', 1, true, {}, [], ['x']]) {
      const refused = await send(path, bad);
      expectProblem(refused, 400, 'VALIDATION_FAILED');
      expect(pathsOf(refused)).toEqual([path]);
    }
  });

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
    ['timestamp', '2026-02-20T00:00:00.1234567891Z', 'timestamp'],
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
    ['source', [], 'source'],
    ['source', { name: 'x' }, 'source.name'],
    ['targets', {}, 'targets'],
    ['targets', [], 'targets'],
    ['targets', Array.from({ length: 101 }, () => ({ id: 'x' })), 'targets'],
    ['targets', [{ id: 'x' }, {}], 'targets[1]'],
    ['targets', [{ id: 'x' }, { id: null, name: 'x' }], 'targets[1]'],
    ['targets', [{ id: 'x' }, null], 'targets[1]'],
    ['targets', [{ id: 'x' }, 'y'], 'targets[1]'],
    ['targets', [{ type: 1 }], 'targets[0].type'],
    ['targets', [{ id: 'x'.repeat(256) }], 'targets[0].id'],
    ['targets', [{ id: 'x', name: 'a\0b' }], 'targets[0].name'],
    ['targets', [{ id: 'x', kind: 'y' }], 'targets[0].kind'],
    ['changes', {}, 'changes'],
    ['changes', Array.from({ length: 1001 }, () => ({ path: 'x' })), 'changes'],
    ['changes', [{}], 'changes[0].path'],
    ['changes', [{ path: null }], 'changes[0].path'],
    ['changes', [{ path: 1 }], 'changes[0].path'],
    ['changes', [{ path: 'x'.repeat(1025) }], 'changes[0].path'],
    ['changes', [{ path: '' }, { path: '', value: 1 }], 'changes[1].value'],
    ['changes', [{ path: '', old: { a: ['\ud800'] } }], 'changes[0].old.a[0]'],
    ['changes', [{ path: '', new: { '\0': 1 } }], 'changes[0].new["\\u0000"]'],
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

  it('changes hold 256 KiB of UTF-8 and 32 levels, no byte and no level more', async () => {
    const sized = (bytes: number) => [{ path: '', new: `é${'x'.repeat(bytes - 24)}` }];
    expect(Buffer.byteLength(JSON.stringify(sized(256 * 1024)))).toBe(256 * 1024);
    expect((await send('changes', sized(256 * 1024))).status).toBe(201);
    expect(pathsOf(await send('changes', sized(256 * 1024 + 1)))).toEqual(['changes']);
    const nested = (levels: number) =>
      JSON.parse(`[{"path":"","old":${'['.repeat(levels - 2)}${']'.repeat(levels - 2)}}]`);
    const deepest = await send('changes', nested(32));
    expect(deepest.status).toBe(201);
    expect((await service.get(`${EVENTS}/${deepest.json.id}`, token)).text).toBe(deepest.text);
    expectProblem(await send('changes', nested(33)), 400, 'VALIDATION_FAILED');
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
