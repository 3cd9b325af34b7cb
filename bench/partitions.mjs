// What others notice of one client whose events are of every month since 1970, on a stock PostgreSQL (64 locks a
// transaction): their 95th percentiles without and during it, what of theirs fails, and how many partitions it leaves.
// `node bench/partitions.mjs [DIST]`, where DIST is another build to measure, such as that of the version before.
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { root, sampleEvent, startProcess, token, withClient } from './support.mjs';

const SECRET = 'bench-secret-bench-secret-bench-secret';
const QUIET_MS = 8000;
const MOST_MS = 45_000;
const ORGANIZATIONS = 8;
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

const { EmbeddedPostgresServer } = createRequire(import.meta.url)(
  join(dist, 'platform/database/embedded/embedded-postgres.js'),
);
const dataDir = mkdtempSync(join(tmpdir(), 'audit-bench-'));
const server = await EmbeddedPostgresServer.start({
  dataDir,
  settings: { max_locks_per_transaction: '64' },
  log: () => undefined,
});
const service = await startProcess(join(dist, 'main.js'), '/health/ready', {
  NODE_ENV: 'staging',
  DATABASE_URL: server.url,
  DATABASE_POOL_MAX: '10',
  AUTH_JWT_SECRET: SECRET,
  RETENTION_DAYS: '0',
});
try {
  await measure();
} finally {
  await service.stop();
  await server.stop();
  rmSync(dataDir, { recursive: true, force: true });
}

async function measure() {
  const operator = await token(['*']);
  const others = Array.from({ length: ORGANIZATIONS }, (_, index) => `org-${index}`);
  const tokens = new Map();
  for (const id of others) tokens.set(id, await token([id]));
  const events = others.flatMap((id) => Array.from({ length: 50 }, (_, i) => sampleEvent(id, i)));
  await send('bulk', operator, { events });
  const pick = (list, n) => list[n % list.length];
  const read = (query, jwt) => ask(`?${query}`, jwt, { headers: { 'cache-control': 'no-cache' } });
  const kinds = {
    page: (n) => read('limit=50', tokens.get(pick(others, n))),
    'page by sequence': (n) => read('limit=10&sort_field=sequence', tokens.get(pick(others, n))),
    'page of an operator by sequence': () => read('limit=10&sort_field=sequence', operator),
    write: (n) => send('', tokens.get(pick(others, n)), sampleEvent(pick(others, n), n)),
  };
  await probe(kinds, sleep(2000)); // warm
  const quiet = await probe(kinds, sleep(QUIET_MS));
  const months = firstWrites();
  const attacks = attack(await token(['attacker']));
  const during = await probe(
    {
      ...kinds,
      'first write of a month': async (n) => {
        const timestamp = months.next().value;
        if (!timestamp) return sleep(20);
        await sleep(100);
        const id = pick(others, n);
        return send('', tokens.get(id), { ...sampleEvent(id, n), timestamp });
      },
    },
    Promise.race([
      attacks.then((all) => all.forEach((one) => console.log(`  ${one}`))),
      sleep(MOST_MS),
    ]),
  );
  console.log('others                             quiet p95   during p95   longest   failed');
  for (const [kind, { times, failures }] of Object.entries(during)) {
    const before = quiet[kind] ? percentile(quiet[kind].times, 0.95) : NaN;
    const failed = Object.entries(failures).map(([what, count]) => `${count} × ${what}`);
    console.log(
      `${kind.padEnd(34)} ${ms(before)} ms ${ms(percentile(times, 0.95))} ms ${ms(percentile(times, 1))} ms   ` +
        `${times.length} asked, failed: ${failed.join(', ') || 0}`,
    );
  }
  const partitions = () =>
    withClient(server.url, async (client) => {
      const { rows } = await client.query(
        `SELECT count(*)::int AS count FROM pg_inherits WHERE inhparent = 'audit_event'::regclass`,
      );
      return rows[0].count;
    });
  console.log(`partitions: ${await partitions()}`);
  const after = await probe(kinds, sleep(QUIET_MS));
  for (const [kind, { times, failures }] of Object.entries(after)) {
    console.log(
      `after it: ${kind.padEnd(34)} p95 ${ms(percentile(times, 0.95))} ms, failed: ${JSON.stringify(failures)}`,
    );
  }
}

/** Every month since 1970 in one bulk request, and at the same time in another one from the last to the first. */
function attack(jwt) {
  const now = new Date();
  const months = [];
  for (let at = new Date(0); at < now; at.setUTCMonth(at.getUTCMonth() + 1)) {
    months.push(at.toISOString());
  }
  const eventsOf = (timestamps) =>
    timestamps.map((timestamp) => ({
      organizationId: 'attacker',
      action: 'a',
      status: 'success',
      timestamp,
    }));
  const timed = async (name, timestamps) => {
    const startedMs = performance.now();
    const { status } = await send('bulk', jwt, { events: eventsOf(timestamps) });
    return `${name}: ${status} after ${Math.round(performance.now() - startedMs)} ms`;
  };
  return Promise.all([
    timed(`${months.length} months`, months),
    timed('months again', [...months].reverse()),
  ]);
}

/** Months of this year and the two before, which have no partition yet: an event of each, from the latest on. */
function* firstWrites() {
  const at = new Date();
  at.setUTCDate(15);
  const first = at.getUTCFullYear() - 2;
  for (;;) {
    at.setUTCMonth(at.getUTCMonth() - 1);
    if (at.getUTCFullYear() < first) return;
    yield at.toISOString();
  }
}

/** Asks for each kind, two at a time, until `over`: what each took, and what failed. */
async function probe(kinds, over) {
  let isOver = false;
  const end = Promise.resolve(over).finally(() => (isOver = true));
  const found = {};
  const client = async (kind, ask, from) => {
    for (let n = from; !isOver; n += 1) {
      const startedMs = performance.now();
      const response = await ask(n);
      if (!response) continue;
      found[kind].times.push(performance.now() - startedMs);
      const failures = found[kind].failures;
      if (response.status >= 400) failures[response.status] = (failures[response.status] ?? 0) + 1;
    }
  };
  const clients = Object.entries(kinds).flatMap(([kind, ask]) => {
    found[kind] = { times: [], failures: {} };
    return [client(kind, ask, 0), client(kind, ask, 4)];
  });
  await Promise.all([end, ...clients]);
  return found;
}

async function ask(path, jwt, { headers = {}, ...options } = {}) {
  const response = await fetch(`${service.url}/api/v1/audit/events${path}`, {
    ...options,
    headers: { ...headers, authorization: `Bearer ${jwt}` },
  });
  await response.arrayBuffer();
  return response;
}

function send(path, jwt, body) {
  return ask(path && `/${path}`, jwt, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

function percentile(times, share) {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function ms(value) {
  return (value === undefined || Number.isNaN(value) ? '-' : value.toFixed(1)).padStart(8);
}

function sleep(delayMs) {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
