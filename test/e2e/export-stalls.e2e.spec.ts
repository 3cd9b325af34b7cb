import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { EventIngest } from '../../src/audit/ingest/event-ingest';
import { Exporter } from '../../src/streaming/exporter';
import { until } from '../integration/until.fixture';
import { openNetworkPath, type NetworkPath } from '../integration/network-path.fixture';
import { openExport, readAnswer } from '../support/export-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const STALL_MS = 1200;
const LIMIT = 6;
/** Half of it: what one principal may have. */
const OWN = 3;

let network: NetworkPath;
let service: TestService;
let admin: Client;
let token: string;

beforeAll(async () => {
  const viaUrl = async (url: string) => (network = await openNetworkPath(url)).url;
  service = await TestService.start(
    {
      STREAMING_MAX_CONCURRENT: String(LIMIT),
      STREAMING_STALL_TIMEOUT_MS: String(STALL_MS),
      DATABASE_UPKEEP_INTERVAL_SECONDS: '0', // it would wait for the locks below
    },
    viaUrl,
  );
  token = await tokenOf({
    organizations: ['org-1', 'org-2'],
    scope: 'audit:read audit:write audit:export',
  });
  await service.post(EVENTS, token, eventWith());
  admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
  await admin.query(
    `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
     SELECT 'org-2', now(), gen_random_uuid(), i + 1, now(), 'a', 'success', 'INTERNAL',
       json_build_object('note', repeat('x', 4000)) FROM generate_series(1, 8000) i`,
  );
});

afterEach(() => jest.restoreAllMocks());

afterAll(async () => {
  await admin?.end();
  await service?.stop();
  network?.cut();
});

const statistics = () => service.provider(Exporter).statistics();
const none = () => until(() => statistics().active === 0);

const head = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;

async function open(): Promise<Socket> {
  const socket = connect(service.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** All whose statement waits for a lock of ours. */
const waiting = async (count: number) => {
  const { rowCount } = await admin.query(
    `SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rowCount === count;
};

it('the header of a CSV file stands there once when the first row comes late', async () => {
  await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
  const opening = openExport(service, token, 'format=csv&bom=true&organization_ids=org-1');
  await until(() => waiting(1));
  const now = performance.now.bind(performance);
  jest.spyOn(performance, 'now').mockImplementation(() => now() + 11_000);
  const { response } = await opening;
  const [first] = (await once(response, 'data')) as [Buffer];
  expect(String(first)).toMatch(/^\ufeffid,timestamp,.*,metadata,.*,schemaVersion\r\n$/);
  await admin.query('ROLLBACK');
  const { body, isWhole } = await readAnswer(response);
  expect(isWhole).toBe(true);
  expect(body.toString()).toMatch(/^[0-9a-f-]{36},.*\r\n$/);
});

it('a list that is looked for first counts as an export, and waits for a permit', async () => {
  await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
  const after = 'after_timestamp=2026-01-01&after_id=0198c1f2-3e4a-4000-8000-00000000abcd';
  const sockets = await Promise.all(Array.from({ length: OWN }, open));
  for (const socket of sockets) socket.write(head(`${EVENTS}/stream?${after}`));
  await until(() => waiting(OWN));
  expect(statistics().active).toBe(OWN);
  const more = await service.get(`${EVENTS}/stream?${after}`, token);
  expect(more).toMatchObject({ status: 503, json: { code: 'TOO_MANY_REQUESTS' } });
  for (const socket of sockets) socket.destroy();
  await until(() => waiting(0)); // cancelled with them
  await none();
  await admin.query('ROLLBACK');
});

describe('exports that are pipelined', () => {
  it('are answered in order', async () => {
    const socket = await open();
    let text = '';
    socket.on('data', (part) => (text += String(part)));
    const path = `${EVENTS}/stream?format=ndjson&organization_ids=org-1`;
    socket.write(head(path) + head(path) + head(path));
    await until(() => text.split('X-Export-Complete: true\r\n').length === 4);
    socket.destroy();
    await none();
  });

  it('hold no permit when their connection ends before they have one', async () => {
    const socket = await open();
    socket.pause();
    const path = `${EVENTS}/stream?format=ndjson&organization_ids=org-2`;
    socket.write(head(path) + head(path));
    await until(() => statistics().active === 2);
    socket.destroy();
    await none();
  });
});

it('a reader that stalls is cut when the time is up, whatever it sends meanwhile', async () => {
  const before = statistics().aborted;
  const socket = await open();
  socket.once('readable', () => undefined);
  const startedMs = performance.now();
  socket.write(head(`${EVENTS}/stream?format=ndjson&organization_ids=org-2`));
  while (statistics().aborted === before && performance.now() - startedMs < 20_000) {
    socket.write('GET ');
    await sleep(STALL_MS / 4);
  }
  expect(statistics().aborted).toBe(before + 1);
  socket.destroy();
});

it('a client that sends lines and never reads their receipts is read no further, and cut', async () => {
  const { limiter } = service.provider(EventIngest);
  const socket = await open();
  socket.pause();
  const lines = `${JSON.stringify(eventWith())}\n`.repeat(2000);
  const chunk = `${lines.length.toString(16)}\r\n${lines}\r\n`;
  const more = ['Content-Type: application/x-ndjson', 'Transfer-Encoding: chunked'].join('\r\n');
  socket.write(
    head(`${EVENTS}/bulk`).replace('GET', 'POST').replace('\r\n\r\n', `\r\n${more}\r\n\r\n`),
  );
  const taken = () => socket.bytesWritten - socket.writableLength;
  const send = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', send);
  send();
  await until(() => limiter.active === 1);
  await until(() => limiter.active === 0);
  expect(taken()).toBeGreaterThan(1024 * 1024);
  expect(taken()).toBeLessThan(64 * 1024 * 1024); // it would have sent for ever
  socket.destroy();
}, 60_000);

it('an export that is answered with an error has failed, and was not aborted', async () => {
  const { failed, aborted } = statistics();
  await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
  const answer = service.get(`${EVENTS}/stream?organization_ids=org-1`, token);
  await until(() => waiting(1));
  await admin.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'audit-server exports' AND datname = current_database() AND state = 'active'`,
  );
  expect(await answer).toMatchObject({ status: 503, json: { code: 'DATABASE_UNAVAILABLE' } });
  await admin.query('ROLLBACK');
  expect(statistics()).toMatchObject({ failed: failed + 1, aborted });
  const { text } = await service.get('/metrics');
  expect(text).toMatch(/^audit_exports_total\{outcome="failed"\} \d+$/m);
});

it('an export that its client leaves while PostgreSQL is silent holds no place', async () => {
  const path = `${EVENTS}/stream?organization_ids=org-1`;
  expect((await service.get(path, token)).status).toBe(200); // there is a connection now
  network.stall();
  const socket = await open();
  socket.write(head(path));
  await until(() => statistics().active === 1);
  await sleep(100); // it has asked for its snapshot
  socket.destroy();
  await none();
}, 8000); // far less than a question to the database may take
