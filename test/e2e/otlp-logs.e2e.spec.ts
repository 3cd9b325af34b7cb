import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { diag, DiagLogLevel } from '@opentelemetry/api';
import { type LogRecord, SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter as JsonExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtobufExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import type { Client } from 'pg';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { until } from '../integration/until.fixture';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const LOGS = '/v1/logs';
const EXPORTERS = { JSON: JsonExporter, protobuf: ProtobufExporter };
const ENCODINGS = Object.keys(EXPORTERS) as (keyof typeof EXPORTERS)[];
const MAX_EVENTS = 40;

let organizationId: string;
let token: string;

beforeEach(async () => {
  organizationId = `org-${randomUUID()}`;
  token = await tokenOf({ organizations: [organizationId] });
});

/** What the stock SDK says about its exports. */
const said: string[] = [];
beforeAll(() => {
  const say = (...parts: unknown[]) => void said.push(parts.map(String).join(' '));
  const logger = { error: say, warn: say, info: say, debug: say, verbose: () => undefined };
  diag.setLogger(logger, DiagLogLevel.ALL);
});
afterAll(() => diag.disable());
beforeEach(() => void said.splice(0));

/** Exports records with the stock SDK, as one batch; resolves when it has done what it can. */
async function exportAll(
  encoding: keyof typeof EXPORTERS,
  url: string,
  records: LogRecord[],
  options: { compression?: 'gzip'; resource?: Record<string, string> } = {},
): Promise<void> {
  const Exporter = EXPORTERS[encoding];
  const exporter = new Exporter({
    url: `${url}${LOGS}`,
    headers: { Authorization: `Bearer ${token}` },
    ...(options.compression ? { compression: options.compression as never } : {}),
  });
  const provider = new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'billing', ...options.resource }),
    processors: [new BatchLogRecordProcessor({ exporter })],
  });
  const logger = provider.getLogger('audit', '1.2.3');
  for (const record of records) logger.emit(record);
  await provider.forceFlush().catch(() => undefined);
  await provider.shutdown();
}

async function storedIn(service: TestService): Promise<Record<string, unknown>[]> {
  const query = `${EVENTS}?sort_field=sequence&sort_direction=asc&limit=100`;
  return eventsIn(await service.get(query, token, { 'cache-control': 'no-cache' }));
}

const approve = (members: Partial<LogRecord> = {}): LogRecord => ({
  eventName: 'invoice.approve',
  timestamp: new Date('2026-11-23T10:30:00.123Z'),
  ...members,
});

const jsonOf = (...records: object[]) => ({
  resourceLogs: [{ scopeLogs: [{ logRecords: records }] }],
});

/** Code and message of a google.rpc.Status. */
function statusIn(answer: Answer, bytes?: Uint8Array): [number, string] {
  if (!bytes) return [answer.json.code, answer.json.message];
  const reader = new BinaryReader(bytes);
  expect(reader.tag()).toEqual([1, WireType.Varint]);
  const code = reader.int32();
  expect(reader.tag()).toEqual([2, WireType.LengthDelimited]);
  return [code, reader.string()];
}

describe('log records of the stock SDK', () => {
  let service: TestService;

  beforeAll(async () => {
    service = await TestService.start({
      BULK_MAX_EVENTS: String(MAX_EVENTS),
      REQUEST_MAX_SIZE_MB: '1',
    });
  });
  afterAll(async () => {
    await service?.stop();
    delete process.env.BULK_MAX_EVENTS;
    delete process.env.REQUEST_MAX_SIZE_MB;
  });

  const post = (body: unknown, headers: Record<string, string> = {}) =>
    service.post(LOGS, token, body, headers);
  const stored = () => storedIn(service);

  it.each(ENCODINGS)('are events, by %s', async (encoding) => {
    await exportAll(
      encoding,
      service.url,
      [
        approve({
          severityNumber: SeverityNumber.ERROR,
          body: 'over the limit',
          attributes: {
            'user.id': 'user-1',
            'client.address': '198.51.100.7',
            'audit.target.type': 'Invoice',
            'audit.target.id': '7',
            amount: 12.5,
            big: 9007199254740991,
            list: ['a', 1],
            nested: { a: { b: true } },
          },
        }),
        approve({ eventName: 'user.login', timestamp: 1_795_429_800_123 }),
      ],
      { resource: { 'host.name': 'billing-7d9f' } },
    );
    expect(said.filter((line) => /error|partial/i.test(line))).toEqual([]);
    const [first, second, ...others] = await stored();
    expect(others).toEqual([]);
    expect(first).toMatchObject({
      organizationId,
      timestamp: '2026-11-23T10:30:00.123000Z',
      principalId: 'user-1',
      action: 'invoice.approve',
      targetResourceType: 'Invoice',
      targetResourceId: '7',
      status: 'failure',
      outcomeDescription: 'over the limit',
      sessionContext: { ipAddress: '198.51.100.7' },
      source: { service: 'billing', host: 'billing-7d9f' },
      metadata: {
        attributes: {
          amount: 12.5,
          big: 9007199254740991,
          list: ['a', 1],
          nested: { a: { b: true } },
        },
        scope: { name: 'audit', version: '1.2.3' },
      },
    });
    expect(second).toMatchObject({ action: 'user.login', status: 'success' });
  });

  it.each(ENCODINGS)('come compressed, by %s', async (encoding) => {
    const records = Array.from({ length: 20 }, (_, n) => approve({ body: `${n}` }));
    await exportAll(encoding, service.url, records, { compression: 'gzip' });
    const bodies = (await stored()).map(({ outcomeDescription }) => outcomeDescription);
    expect(bodies).toEqual(records.map(({ body }) => body));
  });

  it.each(ENCODINGS)('are stored once when an answer is lost, by %s', async (encoding) => {
    const proxy = await RecordingProxy.open(service.port, 1);
    const records = [approve(), approve(), approve({ body: 'x' })];
    await exportAll(encoding, proxy.url, records);
    await proxy.close();
    expect(proxy.answers).toEqual([200, 200]);
    const ids = (await stored()).map(({ id }) => id);
    expect(ids).toHaveLength(records.length);
    expect(new Set(ids).size).toBe(records.length);
  });

  it.each(ENCODINGS)(
    'that are no events are told by a partial success, by %s',
    async (encoding) => {
      await exportAll(encoding, service.url, [
        approve(),
        { body: 'a line of a log' },
        approve({ attributes: { 'organization.id': 'org-of-others' } }),
        approve({ attributes: { 'audit.status': 'ok' } }),
        approve({ body: 'last' }),
      ]);
      const partly = said.find((line) => line.includes('Partial Success')) ?? '';
      expect(partly).toMatch(/"rejectedLogRecords":"?3"?/);
      expect(partly).toContain('logRecords[1].eventName is required');
      expect(partly).toContain('is not an organization of this token');
      expect(partly).toContain('must be one of success, failure, attempt, unknown');
      expect((await stored()).map(({ outcomeDescription }) => outcomeDescription)).toEqual([
        null,
        'last',
      ]);
    },
  );

  it('go where the environment of the stock SDK says', async () => {
    const variables = {
      OTEL_EXPORTER_OTLP_ENDPOINT: service.url,
      OTEL_EXPORTER_OTLP_HEADERS: `Authorization=Bearer%20${token}`,
    };
    Object.assign(process.env, variables);
    try {
      const exporters = ENCODINGS.map((encoding) => new EXPORTERS[encoding]());
      const processors = exporters.map((exporter) => new BatchLogRecordProcessor({ exporter }));
      const provider = new LoggerProvider({ processors });
      provider.getLogger('audit').emit(approve());
      await provider.shutdown();
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
    }
    expect(await stored()).toMatchObject([{ action: 'invoice.approve' }]);
  });

  it('has the same events in both encodings', async () => {
    const records = [approve({ body: { a: [1, null] }, attributes: { n: 1.5 } }), approve()];
    const fixed = records.map((one) => ({ ...one, observedTimestamp: 1_795_429_800_000 }));
    for (const encoding of ENCODINGS) await exportAll(encoding, service.url, fixed);
    expect(await stored()).toHaveLength(records.length);
  });

  describe('a request', () => {
    it('is answered in its encoding', async () => {
      const json = await post(jsonOf({ eventName: 'a', timeUnixNano: '1795429800123456789' }));
      expect([json.status, json.text]).toEqual([200, '{}']);
      expect(json.headers.get('content-type')).toBe('application/json');
      const protobuf = await post(new Uint8Array(), { 'content-type': 'application/x-protobuf' });
      expect([protobuf.status, protobuf.text]).toEqual([200, '']);
      expect(protobuf.headers.get('content-type')).toBe('application/x-protobuf');
      expect(await stored()).toMatchObject([{ timestamp: '2026-11-23T10:30:00.123456789Z' }]);
    });

    it('keeps integers of 64 bits', async () => {
      const attributes = [
        { key: 'text', value: { intValue: '9223372036854775807' } },
        { key: 'number', value: { intValue: 1 } },
      ];
      const body = JSON.stringify(jsonOf({ eventName: 'a', attributes }));
      const exact = body.replace('"intValue":1}', '"intValue":-9223372036854775808}');
      expect((await post(exact, { 'content-type': 'application/json' })).text).toBe('{}');
      const page = await service.get(EVENTS, token, { 'cache-control': 'no-cache' });
      expect(page.text).toContain('"text":9223372036854775807,"number":-9223372036854775808');
    });

    it('has an id of its own, which other content may not have', async () => {
      const attributes = [{ key: 'log.record.uid', value: { stringValue: randomUUID() } }];
      const first = { eventName: 'a', attributes };
      expect((await post(jsonOf(first))).text).toBe('{}');
      expect((await post(jsonOf(first))).text).toBe('{}');
      const { json } = await post(jsonOf({ ...first, eventName: 'b' }, { eventName: 'c' }));
      expect(json.partialSuccess).toEqual({
        rejectedLogRecords: '1',
        errorMessage: expect.stringContaining('[0].id exists in this organization'),
      });
      expect((await stored()).map(({ action }) => action)).toEqual(['a', 'c']);
      const conflict = await post(jsonOf({ ...first, eventName: 'b' }));
      expect([conflict.status, conflict.json.code]).toEqual([409, 6]);
    });

    it('names the organization of records that name none', async () => {
      const organizations = [`a-${randomUUID()}`, organizationId];
      token = await tokenOf({ organizations });
      const none = await post(jsonOf({ eventName: 'a' }));
      expect([none.status, none.json.code]).toEqual([400, 3]);
      expect(none.json.message).toContain('attributes["organization.id"] is required');
      const header = { 'x-organization-id': organizationId };
      expect((await post(jsonOf({ eventName: 'a' }), header)).text).toBe('{}');
      expect(await stored()).toMatchObject([{ organizationId }]);
    });

    it.each<[string, unknown, Record<string, string>, number, number, RegExp]>([
      ['no JSON', '{', {}, 400, 3, /not an ExportLogsServiceRequest/],
      ['no request', '[]', {}, 400, 3, /not an ExportLogsServiceRequest/],
      ['another type', 'x', { 'content-type': 'text/plain' }, 415, 3, /Content-Type/],
      ['no type', 'x', { 'content-type': '' }, 415, 3, /Content-Type/],
      ['another charset', '{}', { 'content-type': 'application/json; charset=x' }, 415, 3, /UTF-8/],
      ['another coding', '{}', { 'content-encoding': 'zstd' }, 415, 3, /Content-Encoding/],
      ['a broken coding', '{}', { 'content-encoding': 'gzip' }, 400, 3, /Content-Encoding/],
      ['no event', jsonOf({ body: { stringValue: 'x' } }), {}, 400, 3, /eventName is required/],
      ['a key', jsonOf({ eventName: 'a' }), { 'idempotency-key': 'k' }, 400, 3, /Idempotency-Key/],
      [
        'a foreign organization',
        jsonOf({ eventName: 'a' }),
        { 'x-organization-id': 'o' },
        403,
        7,
        /not an organization of this token/,
      ],
      [
        'too many records',
        jsonOf(...Array.from({ length: MAX_EVENTS + 1 }, () => ({}))),
        {},
        413,
        8,
        /BULK_MAX_EVENTS/,
      ],
      ['too many bytes', 'x'.repeat(2 * 1024 * 1024), {}, 413, 8, /REQUEST_MAX_SIZE_MB/],
      [
        'a bomb',
        gzipSync(Buffer.alloc(2 * 1024 * 1024)),
        { 'content-encoding': 'gzip' },
        413,
        8,
        /REQUEST_MAX_SIZE_MB/,
      ],
    ])('of %s is refused with a status', async (_, body, headers, status, code, message) => {
      const answer = await post(body, { 'content-type': 'application/json', ...headers });
      expect(answer.status).toBe(status);
      expect(answer.headers.get('content-type')).toBe('application/json');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      const [given, text] = statusIn(answer);
      expect(given).toBe(code);
      expect(text).toMatch(message);
      expect(await stored()).toEqual([]);
    });

    it('is refused in protobuf, where it is protobuf', async () => {
      const response = await fetch(`${service.url}${LOGS}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` },
        body: Buffer.from('{"resourceLogs":[]}'),
      });
      expect(response.status).toBe(400);
      expect(response.headers.get('content-type')).toBe('application/x-protobuf');
      const bytes = new Uint8Array(await response.arrayBuffer());
      const [code, message] = statusIn({} as Answer, bytes);
      expect([code, message]).toEqual([3, expect.stringContaining('ExportLogsServiceRequest')]);
    });

    it('needs a token that may write, and one with organizations', async () => {
      const body = jsonOf({ eventName: 'a' });
      const without = await service.request('POST', LOGS, { body });
      expect([without.status, without.json.code]).toEqual([401, 16]);
      expect(without.headers.get('www-authenticate')).toContain('Bearer');
      for (const claims of [{ scope: 'audit:read' }, { organizations: undefined }]) {
        token = await tokenOf({ organizations: [organizationId], ...claims });
        const answer = await post(body, { 'x-organization-id': organizationId });
        expect([answer.status, answer.json.code]).toEqual([403, 7]);
      }
      expect((await service.get(LOGS, token)).status).toBe(405);
    });

    it('cannot become far more than it is', async () => {
      const withResourceOf = (characters: number) => {
        const attributes = [{ key: 'a', value: { stringValue: 'x'.repeat(characters) } }];
        const logRecords = Array.from({ length: MAX_EVENTS }, () => ({ eventName: 'a' }));
        return { resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }] };
      };
      const { status, json } = await post(withResourceOf(130_000));
      expect([status, json.code]).toEqual([413, 8]);
      expect(await stored()).toEqual([]);
      expect((await post(withResourceOf(90_000))).text).toBe('{}');
      expect(await stored()).toHaveLength(MAX_EVENTS);
    });

    it('of large resources of rejected records is refused before it has taken long', async () => {
      const attributes = [{ key: 'a', value: { stringValue: 'x'.repeat(130_000) } }];
      const logRecords = Array.from({ length: MAX_EVENTS }, () => ({ eventName: 'a' }));
      const body = { resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }] };
      const { status, json } = await post(body, { 'x-organization-id': 'other' });
      expect([status, json.code]).toEqual([413, 8]);
    });

    it('is counted by its route, and its rejected records', async () => {
      const rejected = async () => {
        const { text } = await service.get('/metrics');
        return Number(/^audit_otlp_rejected_records_total (\d+)$/m.exec(text)?.[1]);
      };
      const before = await rejected();
      await post(jsonOf({ eventName: 'a' }, {}, { body: {} }));
      expect(await rejected()).toBe(before + 2);
      await post(jsonOf({}));
      expect(await rejected()).toBe(before + 3);
      await until(async () => {
        const { text } = await service.get('/metrics');
        return /http_request[^\n]*route="\/v1\/logs"/.test(text);
      });
    });
  });
});

describe('the limits of other routes', () => {
  it('are those of log records: a rate limit, after which the stock SDK tries again', async () => {
    const service = await TestService.start({
      RATE_LIMIT_ENABLED: 'true',
      RATE_LIMIT_REQUESTS: '2',
      RATE_LIMIT_WINDOW_SECONDS: '2',
      REDIS_URL: '',
    });
    try {
      const send = () => service.post(LOGS, token, jsonOf({ eventName: 'a' }));
      let limited = await send();
      await until(async () => (limited = await send()).status === 429);
      expect(limited.json.code).toBe(8);
      expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
      await exportAll('protobuf', service.url, [approve()]);
      token = await tokenOf({ sub: 'another', organizations: [organizationId] });
      expect((await storedIn(service)).map(({ action }) => action)).toContain('invoice.approve');
    } finally {
      await service.stop();
      Object.assign(process.env, { RATE_LIMIT_ENABLED: 'false' });
    }
  });

  describe('when all permits are taken', () => {
    let service: TestService;
    let admin: Client;

    beforeAll(async () => {
      service = await TestService.start({
        CONCURRENCY_MAX_REQUESTS: '1',
        CONCURRENCY_ENABLE_QUEUE: 'false',
      });
      admin = await service.connect();
    });
    afterAll(async () => {
      await admin?.end();
      await service?.stop();
      delete process.env.CONCURRENCY_MAX_REQUESTS;
      delete process.env.CONCURRENCY_ENABLE_QUEUE;
    });

    it('they are refused with 503, and the stock SDK tries again', async () => {
      await service.post(EVENTS, token, eventWith({ organizationId }));
      await admin.query('BEGIN');
      await admin.query('SELECT FROM audit_organization WHERE organization_id = $1 FOR UPDATE', [
        organizationId,
      ]);
      const held = service.post(LOGS, token, jsonOf({ eventName: 'held' }));
      await until(() => service.provider(FairScheduler).statistics().active === 1);
      const refused = await service.post(LOGS, token, jsonOf({ eventName: 'refused' }));
      expect([refused.status, refused.json.code]).toEqual([503, 14]);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      const proxy = await RecordingProxy.open(service.port);
      const exported = exportAll('JSON', proxy.url, [approve()]);
      await until(() => proxy.answers.includes(503));
      await admin.query('ROLLBACK');
      expect((await held).status).toBe(200);
      await exported;
      await proxy.close();
      const actions = (await storedIn(service)).map(({ action }) => action);
      expect(actions).toEqual(['test.run', 'held', 'invoice.approve']);
    });
  });
});

/** Passes requests on, and cuts the connection in place of the first `lost` answers. */
class RecordingProxy {
  readonly answers: number[] = [];

  private constructor(private readonly server: Server) {}

  static async open(port: number, lost = 0): Promise<RecordingProxy> {
    const server = createServer((incoming, outgoing) => {
      const { method, url: path, headers } = incoming;
      const onward = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => {
          proxy.answers.push(answer.statusCode ?? 0);
          if (proxy.answers.length <= lost) return incoming.socket.destroy();
          outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
          outgoing.end(Buffer.concat(chunks));
        });
      });
      incoming.pipe(onward);
    });
    const proxy = new RecordingProxy(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
