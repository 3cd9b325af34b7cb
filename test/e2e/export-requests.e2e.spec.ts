import { Client } from 'pg';
import { until } from '../integration/until.fixture';
import * as fc from 'fast-check';
import { fetchExport, linesOf, openExport, readAnswer, readPages } from '../support/export-client';
import { rawRequest } from '../support/raw-http';
import { sampleEvent } from '../support/page-model';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

const EXPORT = 'audit:read audit:write audit:export';

let service: TestService;
let operator: string;

beforeAll(async () => {
  service = await TestService.start({
    STREAMING_SELF_AUDIT: 'true',
    STREAMING_STALL_TIMEOUT_MS: '700',
  });
  operator = await tokenOf({ organizations: ['*'], scope: EXPORT });
  const seen = new Set<string>();
  const events = fc
    .sample(sampleEvent, { numRuns: 150, seed: 7 })
    .filter(({ id, organizationId }) => {
      const key = `${id} ${organizationId}`;
      return id === null || (!seen.has(key) && seen.add(key));
    });
  const stored = await service.post(`${EVENTS}/bulk`, operator, { events });
  expect(stored.status).toBe(201);
});

afterAll(() => service.stop());

const ndjson = { format: 'ndjson', end_date: '2026-09-01' };

describe('an export goes on', () => {
  it.each([
    ['timestamp', 'desc'],
    ['timestamp', 'asc'],
    ['sequence', 'desc'],
    ['sequence', 'asc'],
  ])('by %s %s after any event, with exactly the rest', async (sort_field, sort_direction) => {
    const query = { ...ndjson, sort_field, sort_direction };
    const all = linesOf((await fetchExport(service, operator, query)).text);
    expect(all.length).toBeGreaterThan(100);
    for (const at of [0, 1, 7, 50, all.length - 1]) {
      const { timestamp, id, organizationId } = JSON.parse(all[at] ?? '');
      const after = {
        after_timestamp: timestamp,
        after_id: id,
        after_organization_id: organizationId,
      };
      const rest = await fetchExport(service, operator, { ...query, ...after });
      expect(linesOf(rest.text)).toEqual(all.slice(at + 1));
    }
  });

  it('after the page whose cursor is given', async () => {
    const query = { end_date: '2026-09-01', sort_direction: 'asc' };
    const all = await readPages(service, operator, query);
    const text = new URLSearchParams({ ...query, limit: '10' }).toString();
    const { pagination } = (await service.get(`${EVENTS}?${text}`, operator)).json;
    const rest = { ...query, format: 'ndjson', cursor: pagination.nextCursor };
    expect(linesOf((await fetchExport(service, operator, rest)).text)).toEqual(all.slice(10));
    const second = new URLSearchParams({ ...query, limit: '10', cursor: pagination.nextCursor });
    const back = (await service.get(`${EVENTS}?${second.toString()}`, operator)).json.pagination;
    const refused = await fetchExport(service, operator, { ...rest, cursor: back.previousCursor });
    expect(JSON.parse(refused.text)).toMatchObject({ errors: [{ path: 'cursor' }] });
    const foreign = await fetchExport(service, operator, { ...rest, actions: 'a' });
    expect(JSON.parse(foreign.text)).toMatchObject({ code: 'INVALID_CURSOR' });
  });

  it('of several organizations only when it is clear from which', async () => {
    const shared = {
      id: '0198c1f2-3e4a-4000-8000-00000000abcd',
      timestamp: '2020-02-02T02:02:02.000001Z',
    };
    for (const organizationId of ['org-1', 'org-2']) {
      await service.post(EVENTS, operator, eventWith({ organizationId, ...shared }));
    }
    const after = { after_timestamp: shared.timestamp, after_id: shared.id };
    const open = await fetchExport(service, operator, { ...ndjson, ...after });
    expect(JSON.parse(open.text)).toMatchObject({ errors: [{ path: 'after_organization_id' }] });
    const clear = { ...ndjson, ...after, after_organization_id: 'org-2', sort_direction: 'desc' };
    const [first] = linesOf((await fetchExport(service, operator, clear)).text);
    expect(JSON.parse(first ?? '')).toMatchObject({ id: shared.id, organizationId: 'org-1' });
    const mine = await tokenOf({ scope: EXPORT, organizations: ['org-1'] });
    const single = await fetchExport(service, mine, { ...ndjson, ...after });
    expect(single.status).toBe(200);
  });
});

describe('a malformed request', () => {
  it.each([
    ['format=xml', 'format'],
    ['chunk_size=99', 'chunk_size'],
    ['chunk_size=10001', 'chunk_size'],
    ['compression=gzip', 'compression'],
    ['limit=10', 'limit'],
    ['bom=true', 'bom'],
    ['format=ndjson&csv_raw=true', 'csv_raw'],
    ['after_timestamp=2026-01-01', 'after_id'],
    ['after_id=0198c1f2-3e4a-4000-8000-00000000abcd', 'after_timestamp'],
    ['after_organization_id=org-1', 'after_organization_id'],
    ['cursor=x&after_timestamp=2026-01-01&after_id=0198c1f2-3e4a-4000-8000-00000000abcd', 'cursor'],
    [
      'sort_field=sequence&after_timestamp=2026-01-01&after_id=0198c1f2-3e4a-4000-8000-00000000abce',
      'after_id',
    ],
  ])('%s is refused', async (query, path) => {
    const answer = await service.get(`${EVENTS}/stream?${query}`, operator);
    expect(answer).toMatchObject({ status: 400, json: { errors: [{ path }] } });
    expect(answer.headers.get('content-disposition')).toBeNull();
  });

  it('needs its scope, and its organizations', async () => {
    const reader = await tokenOf();
    expect((await service.get(`${EVENTS}/stream`, reader)).status).toBe(403);
    expect((await service.get(`${EVENTS}/stream`)).status).toBe(401);
    const mine = await tokenOf({ scope: EXPORT });
    const foreign = await service.get(`${EVENTS}/stream?organization_ids=org-2`, mine);
    expect(foreign).toMatchObject({ status: 403, json: { code: 'FORBIDDEN' } });
  });
});

describe('the head of an export', () => {
  it('describes itself, on both paths', async () => {
    for (const path of [EVENTS, '/api/v1/performance/audit/events']) {
      const query = 'format=csv&start_date=2026-01-01&end_date=2026-09-01T10:00:00%2B02:00';
      const { headers } = await service.get(`${path}/stream?${query}`, operator);
      expect(headers.get('content-disposition')).toMatch(
        /^attachment; filename="audit-events_2026-01-01_2026-09-01T080000_at-\d{8}T\d{6}Z\.csv"$/,
      );
      expect(headers.get('content-type')).toMatch(/^text\/csv; charset=utf-8/);
      expect(headers.get('x-export-snapshot')).toMatch(/^20\d\d-.*Z \d+:\d+:/);
      expect(headers.get('cache-control')).toContain('no-store');
      expect(headers.get('trailer')).toBe('X-Export-Rows, X-Export-Complete, X-Export-Long-Cells');
    }
  });

  it('is all that a HEAD request gets', async () => {
    const head = await service.request('HEAD', `${EVENTS}/stream?format=ndjson`, {
      token: operator,
    });
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers.get('content-type')).toContain('application/x-ndjson');
    expect(head.headers.get('x-export-snapshot')).toBeNull();
    const wrong = await service.request('HEAD', `${EVENTS}/stream?format=xml`, { token: operator });
    expect(wrong.status).toBe(400);
  });

  it.each([
    ['', { 'accept-encoding': 'gzip' }, 'gzip'],
    ['', { 'accept-encoding': 'br' }, 'br'],
    ['', { 'accept-encoding': 'x-gzip' }, 'gzip'],
    ['', { 'accept-encoding': 'gzip;q=0.5, br;q=0.1' }, 'gzip'],
    ['', { 'accept-encoding': 'identity' }, undefined],
    ['', {}, undefined],
    ['compression=true', {}, 'gzip'],
    ['compression=true', { 'accept-encoding': 'br' }, 'br'],
    ['compression=false', { 'accept-encoding': 'gzip, br' }, undefined],
  ])('has the coding of %s with %j', async (query, headers, coding) => {
    const plain = await fetchExport(service, operator, ndjson);
    const text = `${new URLSearchParams(ndjson).toString()}&${query}`;
    const answer = await fetchExport(service, operator, text, headers);
    expect(answer.headers['content-encoding']).toBe(coding);
    expect(answer.text).toBe(plain.text);
    expect(answer.trailers['x-export-complete']).toBe('true');
  });

  it('has the format that Accept asks for when no other is named', async () => {
    const typeOf = async (accept: string, query = '') =>
      (await fetchExport(service, operator, query, { accept })).headers['content-type'];
    expect(await typeOf('text/csv')).toContain('text/csv');
    expect(await typeOf('application/x-ndjson')).toContain('application/x-ndjson');
    expect(await typeOf('*/*')).toContain('application/json');
    expect(await typeOf('text/csv; charset=utf-8')).toContain('text/csv');
    expect(await typeOf('application/json;q=0.5, text/csv; header=present;q=0.8')).toContain(
      'text/csv',
    );
    expect(await typeOf('*')).toContain('application/json');
    expect(await typeOf('text/csv', 'format=ndjson')).toContain('application/x-ndjson');
  });

  it('is one that HTTP/1.0 understands', async () => {
    const answer = await rawRequest(service.port, 'GET', `${EVENTS}/stream?format=ndjson`, {
      authorization: `Bearer ${operator}`,
    });
    expect(answer.status).toBe(200);
  });
});

describe('with STREAMING_SELF_AUDIT', () => {
  const recorded = async (organizationId: string) => {
    const path = `${EVENTS}?organization_ids=${encodeURIComponent(organizationId)}&actions=audit.export&sort_field=sequence&limit=1`;
    const answer = await service.get(path, operator, { 'cache-control': 'no-cache' });
    expect({ status: answer.status, text: answer.text }).toMatchObject({ status: 200 });
    return eventsIn(answer)[0];
  };

  it.each(['ndjson', 'json', 'csv'])(
    'an export as %s is an event of each organization in it',
    async (format) => {
      const query = { format, organization_ids: 'org-1,org-2,nobody', end_date: '2026-08-15' };
      const { headers } = await fetchExport(service, operator, query);
      for (const organizationId of ['org-1', 'org-2']) {
        const { end_date } = query;
        const mine = await readPages(service, operator, {
          organization_ids: organizationId,
          end_date,
        });
        await until(
          async () => (await recorded(organizationId))?.correlationId === headers['x-request-id'],
        );
        expect(await recorded(organizationId)).toMatchObject({
          action: 'audit.export',
          status: 'success',
          principalId: 'alice',
          metadata: {
            format,
            rows: mine.length,
            outcome: 'complete',
            requestId: headers['x-request-id'],
            filter: { endDate: '2026-08-15T00:00:00.000000Z' },
          },
        });
        expect(JSON.stringify(await recorded(organizationId))).not.toContain(
          organizationId === 'org-1' ? 'org-2' : '"org-1,',
        );
      }
      expect(await recorded('nobody')).toBeUndefined();
    },
  );

  it('as CSV has different cells for organizations that an apostrophe tells apart, and counts them apart', async () => {
    for (const organizationId of ['=1', "'=1", "'=1"]) {
      const action = 'look-alike';
      await service.post(EVENTS, operator, eventWith({ organizationId, action }));
    }
    const { text } = await fetchExport(service, operator, 'format=csv&actions=look-alike');
    expect(text.split('\r\n').map((row) => row.split(',')[4])).toEqual([
      'organizationId',
      "''=1",
      "''=1",
      "'=1",
      undefined,
    ]);
    await until(async () => (await recorded("'=1")) !== undefined);
    await until(async () => (await recorded('=1')) !== undefined);
    expect(await recorded('=1')).toMatchObject({ metadata: { rows: 1 } });
    expect(await recorded("'=1")).toMatchObject({ metadata: { rows: 2 } });
  });

  it('an export whose reader stalls is cut, and recorded as such', async () => {
    const admin = new Client({ connectionString: service.databaseUrl });
    await admin.connect();
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
       SELECT 'org-long', now(), gen_random_uuid(), i, now(), 'a', 'success', 'INTERNAL',
         json_build_object('note', repeat('x', 4000)) FROM generate_series(1, 8000) i`,
    );
    // A search in portions is refused where the log has no such sequence.
    await admin.query(`INSERT INTO audit_organization VALUES ('org-long', 8000)`);
    await admin.end();
    const { response } = await openExport(
      service,
      operator,
      'format=ndjson&organization_ids=org-long',
    );
    response.pause();
    await until(async () => (await recorded('org-long')) !== undefined);
    expect(await recorded('org-long')).toMatchObject({
      status: 'failure',
      metadata: { outcome: 'aborted', reason: 'client stalled' },
    });
    expect((await readAnswer(response)).isWhole).toBe(false);
  });

  it('a reader that is slow but reads is not cut', async () => {
    const { response } = await openExport(
      service,
      operator,
      'format=ndjson&organization_ids=org-long',
    );
    const startedMs = Date.now();
    let bytes = 0;
    for await (const part of response) {
      bytes += (part as Buffer).length;
      await new Promise((resolve) => setTimeout(resolve, 6));
    }
    // Far longer than a stall may be, of which there was none.
    expect(Date.now() - startedMs).toBeGreaterThan(2000);
    expect(bytes).toBeGreaterThan(30_000_000);
    expect(response.complete).toBe(true);
  });
});
