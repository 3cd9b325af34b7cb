import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { Client } from 'pg';
import { EventIngest } from '../../src/audit/ingest/event-ingest';
import { principalKey } from '../../src/auth/principal';
import { until } from '../integration/until.fixture';
import { memberTexts } from '../support/json-text';
import {
  EVENTS,
  eventsIn,
  eventWith,
  TEST_AUTH,
  TestService,
  tokenOf,
} from '../support/test-service';

const NDJSON = { 'content-type': 'application/x-ndjson' };

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ BULK_MAX_EVENTS: '10', REQUEST_MAX_SIZE_MB: '1' });
  token = await tokenOf({ organizations: ['org-1', 'org-2'] });
});

afterAll(() => service.stop());

const event = (organizationId: string, members: Record<string, unknown> = {}) =>
  JSON.stringify(eventWith({ organizationId, ...members }));

interface Receipt {
  line: number;
  id?: string;
  sequence?: string;
  status: string;
  code?: string;
  errors?: { path: string; message: string }[];
}

async function send(body: string | Uint8Array, headers: Record<string, string> = {}) {
  const answer = await service.post(`${EVENTS}/bulk`, token, body, { ...NDJSON, ...headers });
  expect({ status: answer.status, text: answer.text.slice(0, 300) }).toMatchObject({ status: 200 });
  return parsed(answer.text);
}

function parsed(text: string): { receipts: Receipt[]; summary: unknown } {
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { summary } = lines.pop();
  return { receipts: lines, summary };
}

async function countOf(organizationId: string): Promise<number> {
  const path = `${EVENTS}?organization_ids=${organizationId}&include_total=true&limit=1`;
  return (await service.get(path, token, { 'cache-control': 'no-cache' })).json.pagination.total;
}

describe('events as NDJSON', () => {
  it('are stored in transactions, each line with its receipt', async () => {
    const lines = Array.from({ length: 25 }, (_, index) => event('org-1', { action: `a${index}` }));
    const { receipts, summary } = await send(lines.join('\n'));
    expect(summary).toEqual({ created: 25, duplicates: 0, rejected: 0 });
    expect(receipts.map(({ line }) => line)).toEqual(lines.map((_, index) => index + 1));
    expect(receipts.map(({ sequence }) => sequence)).toEqual(
      lines.map((_, index) => `${index + 1}`),
    );
    const { id } = receipts[11] ?? {};
    expect((await service.get(`${EVENTS}/${id}`, token)).json.action).toBe('a11');
  });

  it.each([
    'application/jsonl',
    'application/x-jsonlines; charset=utf-8',
    'application/ndjson;profile=x',
    'Application/X-NDJSON',
  ])('are read as %s too', async (type) => {
    const { summary } = await send(event('org-2'), { 'content-type': type });
    expect(summary).toMatchObject({ created: 1 });
  });

  it('have a route of their own, which takes no JSON document and has no second path', async () => {
    const lines = `${event('org-2')}\n${event('org-9')}\n`;
    const own = await service.post(`${EVENTS}/ingest`, token, lines, NDJSON);
    const shared = await service.post(`${EVENTS}/bulk`, token, lines, NDJSON);
    const typeOf = ({ headers }: typeof own) => headers.get('content-type');
    expect([own.status, typeOf(own)]).toEqual([200, typeOf(shared)]);
    expect(parsed(own.text)).toEqual(parsed(shared.text));
    expect(parsed(own.text).summary).toEqual({ created: 0, duplicates: 0, rejected: 2 });
    const document = await service.post(`${EVENTS}/ingest`, token, { events: [] });
    expect(document.status).toBe(415);
    expect(document.json.detail).toMatch(/x-ndjson, one a line; .*\/audit\/events\/bulk/);
    const second = await service.post(
      '/api/v1/performance/audit/events/ingest',
      token,
      lines,
      NDJSON,
    );
    expect(second.status).toBe(405);
  });

  it('are refused in another charset', async () => {
    const type = { 'content-type': 'application/x-ndjson; charset=iso-8859-1' };
    const answer = await service.post(`${EVENTS}/bulk`, token, event('org-2'), type);
    expect([answer.status, answer.json.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  it('keep exact numbers, nulls and microseconds', async () => {
    const metadata = '{"a":-9218868437227405312,"b":1.0,"c":[1E400,null]}';
    const at = '2026-01-02T03:04:05.678901Z';
    const line = `${event('org-1', { timestamp: at }).slice(0, -1)},"metadata":${metadata}}`;
    const { receipts } = await send(`\ufeff${line}\r\n\r\n   \n`);
    expect(receipts).toHaveLength(1);
    const read = await service.get(`${EVENTS}/${receipts[0]?.id}`, token);
    expect(memberTexts(read.text).get('metadata')).toBe(metadata);
    expect(read.json.timestamp).toBe(at);
  });

  it('go on behind a transaction that is rejected, whose every line says why', async () => {
    const before = await countOf('org-2');
    const lines = Array.from({ length: 30 }, () => event('org-2'));
    lines[2] = '{"organizationId":"org-2"';
    lines[4] = event('org-2', { status: 'unknown', extra: 1 });
    lines[5] = event('org-9');
    lines[21] = event('org-2', { action: 'x'.repeat(1024 * 1024) });
    const { receipts, summary } = await send(lines.join('\n'));
    expect(summary).toEqual({ created: 10, duplicates: 0, rejected: 20 });
    expect(receipts.map(({ line }) => line)).toEqual(lines.map((_, index) => index + 1));
    expect(receipts[0]).toMatchObject({
      status: 'rejected',
      code: 'TRANSACTION_REJECTED',
      errors: [{ path: '', message: expect.stringContaining('line 3 ') }],
    });
    expect(receipts[2]).toMatchObject({ code: 'MALFORMED_JSON' });
    expect(receipts[4]).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(receipts[4]?.errors?.map(({ path }) => path).sort()).toEqual(['extra', 'status']);
    expect(receipts[5]).toMatchObject({ code: 'FORBIDDEN', errors: [{ path: 'organizationId' }] });
    expect(receipts[10]).toMatchObject({ line: 11, status: 'created' });
    expect(receipts[21]).toMatchObject({ code: 'REQUEST_TOO_LARGE' });
    expect(await countOf('org-2')).toBe(before + 10);
  });

  it('are duplicates when they come again, and conflicts with other content', async () => {
    const id = '0198c1f2-3e4a-4000-8000-1234567890ab';
    const first = await send(`${event('org-1', { id })}\n`);
    expect(first.summary).toEqual({ created: 1, duplicates: 0, rejected: 0 });
    const again = await send(`${event('org-1', { id })}\n`);
    expect(again.summary).toEqual({ created: 0, duplicates: 1, rejected: 0 });
    expect(again.receipts[0]).toMatchObject({ id, sequence: first.receipts[0]?.sequence });
    const { receipts } = await send(
      `${event('org-1')}\n${event('org-1', { id, action: 'other' })}\n`,
    );
    expect(receipts[0]).toMatchObject({ code: 'TRANSACTION_REJECTED' });
    expect(receipts[1]).toMatchObject({ line: 2, code: 'CONFLICT', errors: [{ path: 'id' }] });
  });

  it('may be compressed; a body that breaks off says where', async () => {
    const lines = Array.from({ length: 12 }, () => event('org-1')).join('\n');
    const whole = await send(gzipSync(lines), { 'content-encoding': 'gzip' });
    expect(whole.summary).toEqual({ created: 12, duplicates: 0, rejected: 0 });
    const broken = await send(gzipSync(lines).subarray(0, -12), { 'content-encoding': 'gzip' });
    expect(broken.receipts.at(-1)).toMatchObject({ status: 'rejected', code: 'MALFORMED_JSON' });
    const unknown = await service.post(`${EVENTS}/bulk`, token, 'x', {
      ...NDJSON,
      'content-encoding': 'zstd',
    });
    expect(unknown).toMatchObject({ status: 415, json: { code: 'UNSUPPORTED_MEDIA_TYPE' } });
  });

  it('of nothing are nothing', async () => {
    expect(await send('')).toEqual({
      receipts: [],
      summary: { created: 0, duplicates: 0, rejected: 0 },
    });
  });

  it('take no Idempotency-Key, and no reader', async () => {
    const keyed = await service.post(`${EVENTS}/bulk`, token, event('org-1'), {
      ...NDJSON,
      'idempotency-key': 'k',
    });
    expect(keyed).toMatchObject({ status: 400, json: { errors: [{ path: 'Idempotency-Key' }] } });
    const reader = await tokenOf({ scope: 'audit:read' });
    expect((await service.post(`${EVENTS}/bulk`, reader, event('org-1'), NDJSON)).status).toBe(403);
  });
});

it('bodies beyond the limit get 503 with Retry-After', async () => {
  const { limiter } = service.provider(EventIngest);
  const leave = Array.from({ length: limiter.max }, (_, place) => limiter.acquire(`sub-${place}`));
  const refused = await service.post(`${EVENTS}/bulk`, token, event('org-1'), NDJSON);
  expect(refused).toMatchObject({ status: 503, json: { code: 'TOO_MANY_REQUESTS' } });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  leave.forEach((one) => one());
  await send(event('org-1'));
  expect(limiter.active).toBe(0);
});

it('bodies of one principal leave room for those of others', async () => {
  const { limiter } = service.provider(EventIngest);
  const own = limiter.max / 2;
  const alice = principalKey({ subject: 'alice', issuer: TEST_AUTH.AUTH_ISSUER });
  const leave = Array.from({ length: own }, () => limiter.acquire(alice));
  const refused = await service.post(`${EVENTS}/bulk`, token, event('org-1'), NDJSON);
  expect(refused).toMatchObject({ status: 503, json: { code: 'TOO_MANY_REQUESTS' } });
  const bob = await tokenOf({ sub: 'bob', scope: 'audit:write' });
  expect((await service.post(`${EVENTS}/bulk`, bob, event('org-1'), NDJSON)).status).toBe(200);
  leave.forEach((one) => one());
});

it('a transaction whose connection is lost has no receipts, and is a duplicate when it comes again', async () => {
  const admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
  await admin.query('BEGIN; LOCK TABLE audit_organization IN SHARE MODE');
  const body = event('org-2', { id: '0198c1f2-3e4a-4000-8000-00000000aaaa' });
  const sent = service.post(`${EVENTS}/bulk`, token, event('org-2'), NDJSON);
  const waiting = `FROM pg_stat_activity WHERE application_name = 'audit-server'
    AND datname = current_database() AND wait_event_type = 'Lock'`;
  await until(async () => (await admin.query(`SELECT ${waiting}`)).rowCount === 1);
  await admin.query(`SELECT pg_terminate_backend(pid) ${waiting}`);
  expect(await sent).toMatchObject({ status: 503, json: { code: 'DATABASE_UNAVAILABLE' } });
  await admin.query('ROLLBACK');
  await admin.end();
  expect((await send(body)).summary).toMatchObject({ created: 1 });
  expect((await send(body)).summary).toMatchObject({ duplicates: 1 });
});

describe('a client that sends slowly', () => {
  function open() {
    const request = httpRequest(`${service.url}${EVENTS}/bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, ...NDJSON },
      agent: false,
    });
    request.on('error', () => undefined);
    return request;
  }

  it('has its receipts while it pauses', async () => {
    const request = open();
    request.write(`${event('org-1')}\n`);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const [first] = (await once(response, 'data')) as [Buffer];
    expect(JSON.parse(first.toString())).toMatchObject({ line: 1, status: 'created' });
    request.end(`${event('org-1')}\n`);
    let rest = '';
    for await (const part of response) rest += String(part);
    expect(parsed(rest)).toMatchObject({ receipts: [{ line: 2 }], summary: { created: 2 } });
  });

  it('and hangs up has stored every acknowledged event, and no partial line', async () => {
    const before = await countOf('org-2');
    const request = open();
    request.write(`${event('org-2')}\n${event('org-2')}\n`);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.on('error', () => undefined);
    await once(response, 'data');
    request.write(event('org-2').slice(0, 20));
    request.destroy();
    await until(async () => (await countOf('org-2')) === before + 2);
    const page = await service.get(`${EVENTS}?organization_ids=org-2&limit=1`, token);
    expect(eventsIn(page)).toHaveLength(1);
  });
});
