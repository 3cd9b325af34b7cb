import { once } from 'node:events';
import { spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { Client } from 'pg';
import { captureLog } from '../integration/redis.fixture';
import { until } from '../integration/until.fixture';
import { fetchExport, openExport, readAnswer } from '../support/export-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const EXPORT = 'audit:read audit:write audit:export';
/** More than the buffers between PostgreSQL and a client that does not read can hold. */
const ROWS = 60_000;
const LIMIT = 14;

let service: TestService;
let admin: Client;
let token: string;

beforeAll(async () => {
  service = await TestService.start({
    STREAMING_MAX_CONCURRENT: String(LIMIT),
    STREAMING_STALL_TIMEOUT_MS: '60000',
  });
  token = await tokenOf({ scope: EXPORT });
  admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
  await service.post(EVENTS, token, eventWith());
  await admin.query(
    `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
     SELECT 'org-1', date_trunc('month', now(), 'UTC') + i * interval '1 millisecond', gen_random_uuid(), i + 1, now(), 'a', 'success', 'INTERNAL',
       json_build_object('note', repeat('x', 400)) FROM generate_series(1, $1::int) i
     ON CONFLICT DO NOTHING`,
    [ROWS],
  );
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

/** The backends that work on an export. */
async function backends(): Promise<{ pid: number; state: string }[]> {
  const { rows } = await admin.query<{ pid: number; state: string }>(
    `SELECT pid, state FROM pg_stat_activity
     WHERE application_name = 'audit-server exports' AND datname = current_database() AND state <> 'idle'`,
  );
  return rows;
}

const idle = () => until(async () => (await backends()).length === 0);

async function stalledExport(own = token) {
  const opened = await openExport(service, own, 'format=ndjson');
  opened.response.pause();
  return opened;
}

describe.each(['identity', 'gzip'])('an export (%s) whose backend is killed midway', (coding) => {
  it('is a broken transfer', async () => {
    const asked = { 'accept-encoding': coding };
    const { response } = await openExport(service, token, 'format=ndjson', asked);
    response.once('readable', () => undefined);
    await until(async () => (await backends()).length === 1);
    for (const { pid } of await backends()) {
      await admin.query('SELECT pg_terminate_backend($1)', [pid]);
    }
    const answer = await readAnswer(response);
    expect(answer).toMatchObject({ status: 200, isWhole: false });
    expect(answer.trailers['x-export-complete']).toBeUndefined();
    // And the next one is none the worse.
    expect((await fetchExport(service, token, 'format=ndjson')).isWhole).toBe(true);
  });
});

it('curl reports a transfer that broke, over HTTP/1.1 and HTTP/1.0', async () => {
  if (spawnSync('curl', ['--version']).status !== 0) {
    // eslint-disable-next-line no-console -- that it is skipped must be seen
    return console.warn('SKIPPED: there is no curl.');
  }
  for (const version of ['--http1.1', '--http1.0']) {
    const url = `${service.url}${EVENTS}/stream?format=ndjson`;
    const curl = spawn('curl', ['-sS', version, '-H', `Authorization: Bearer ${token}`, url]);
    await once(curl.stdout, 'readable');
    await until(async () => (await backends()).length === 1);
    await admin.query(`SELECT pg_terminate_backend($1)`, [(await backends())[0]?.pid]);
    curl.stdout.resume();
    const [status] = (await once(curl, 'close')) as [number];
    expect(status).not.toBe(0);
  }
});

describe('a client that leaves', () => {
  it('leaves no backend at work, reading or not, by leaving and not by having stalled', async () => {
    const warnings = captureLog('warn');
    for (const reads of [false, true]) {
      const { request, response } = await stalledExport();
      if (reads) response.resume();
      await until(async () => (await backends()).length === 1);
      request.destroy();
      await idle();
    }
    await until(() => warnings.length === 2);
    expect(warnings).toEqual(
      Array(2).fill(expect.stringMatching(/^An export was cut .*: client left\.$/)),
    );
    jest.restoreAllMocks();
  });

  it('ends a statement that has not written anything yet', async () => {
    // Every organization by sequence has to be sorted, and locked rows of the table make that wait for ever.
    const operator = await tokenOf({ organizations: ['*'], scope: EXPORT });
    await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
    try {
      const socket = connect(service.port, '127.0.0.1');
      socket.write(
        `GET ${EVENTS}/stream?sort_field=sequence HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${operator}\r\n\r\n`,
      );
      const other = new Client({ connectionString: service.databaseUrl });
      await other.connect();
      const working = async () =>
        (
          await other.query(
            `SELECT FROM pg_stat_activity WHERE application_name = 'audit-server exports'
             AND datname = current_database() AND wait_event_type = 'Lock'`,
          )
        ).rowCount;
      await until(async () => (await working()) === 1);
      socket.destroy();
      await until(async () => (await working()) === 0);
      await other.end();
    } finally {
      await admin.query('ROLLBACK');
    }
  });
});

describe('stalled exports', () => {
  it('starve neither pages nor writes, nor exports of others, and one more gets 503 with Retry-After', async () => {
    const own = await Promise.all(Array.from({ length: LIMIT / 2 }, () => stalledExport()));
    const tooMany = await service.get(`${EVENTS}/stream`, token);
    expect(tooMany).toMatchObject({ status: 503, json: { code: 'TOO_MANY_REQUESTS' } });
    const other = await tokenOf({ sub: 'bob', scope: EXPORT });
    expect((await fetchExport(service, other, 'format=ndjson')).isWhole).toBe(true);
    const others = await Promise.all(Array.from({ length: LIMIT / 2 }, () => stalledExport(other)));
    const stalled = [...own, ...others];
    await until(async () => (await backends()).length === LIMIT);
    const page = await service.get(`${EVENTS}?limit=1`, token, { 'cache-control': 'no-cache' });
    expect(page.status).toBe(200);
    expect((await service.post(EVENTS, token, eventWith())).status).toBe(201);
    const third = await tokenOf({ sub: 'carol', scope: EXPORT });
    const refused = await service.get(`${EVENTS}/stream`, third);
    expect(refused).toMatchObject({ status: 503, json: { code: 'TOO_MANY_REQUESTS' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused.headers.get('content-disposition')).toBeNull();
    for (const { request } of stalled) request.destroy();
    await idle();
    expect((await fetchExport(service, token, 'format=ndjson')).isWhole).toBe(true);
  });
});

it('sees one state of the database: writes during an export do not appear', async () => {
  const before = (await fetchExport(service, token, 'format=ndjson')).trailers['x-export-rows'];
  const { response } = await stalledExport();
  await until(async () => (await backends()).length === 1);
  await service.post(EVENTS, token, eventWith({ timestamp: '2020-01-01T00:00:00Z' }));
  const during = await readAnswer(response);
  expect(during.trailers['x-export-rows']).toBe(before);
  const after = await fetchExport(service, token, 'format=ndjson');
  expect(Number(after.trailers['x-export-rows'])).toBe(Number(before) + 1);
});
