// Scale: the same reads and writes on more events, partitions and organizations, beside the smallest of them.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import pg from 'pg';
import { eventsOf } from './data.mjs';
import { median } from './figures.mjs';
import { interleaved, load, report, root, startService, token, withClient } from './support.mjs';

const require = createRequire(import.meta.url);
/** The smallest first. 5 million events take five minutes to make and 5 GB: only with BENCH_LARGE=1. */
const SIZES = [
  { events: 100_000, months: 12, organizations: 1 },
  { events: 1_000_000, months: 12, organizations: 1 },
  { events: 1_000_000, months: 84, organizations: 1 },
  { events: 1_000_000, months: 84, organizations: 1000 },
  ...(process.env.BENCH_LARGE ? [{ events: 5_000_000, months: 84, organizations: 1000 }] : []),
];
const WRITERS = 16;
const READERS = 8;
/** Read and written: an organization that every size has. */
const MEASURED = 'org-0';
const PATTERNS = 400;
const PLANS = 9;

export async function scale(databaseUrl) {
  const fields = [];
  try {
    for (const size of SIZES) fields.push(await prepare(databaseUrl, size));
    // What was filled is written out now, and not while the first are measured.
    await withClient(databaseUrl, (client) => client.query('CHECKPOINT'));
    const [smallest, ...others] = await measure(fields);
    for (const { name, page, write, planningMs } of others) {
      report(`page of 50, ${name} (pages/s)`, page, smallest.page, 0.77);
      report(`single writes, ${name} (events/s)`, write, smallest.write, 0.77);
      report(
        `planning of a page, smallest vs ${name} (µs)`,
        smallest.planningMs * 1000,
        planningMs * 1000,
      );
    }
  } finally {
    await Promise.all(fields.map(({ service }) => service.stop()));
  }
}

/** A database of its own on the same server, with its events and a service on it. */
async function prepare(databaseUrl, size) {
  const { events, months, organizations } = size;
  const database = `${new URL(databaseUrl).pathname.slice(1)}_${events}_${months}_${organizations}`;
  await withClient(databaseUrl, (client) => client.query(`CREATE DATABASE ${database}`));
  const url = new URL(databaseUrl);
  url.pathname = `/${database}`;
  const empty = await startService(url.href); // migrates
  await empty.stop();
  const startedMs = performance.now();
  await withClient(url.href, (client) => fill(client, size));
  const name = `${events / 1e6} M events, ${months} months, ${organizations} organizations`;
  console.log(`  ${name}: filled in ${Math.round((performance.now() - startedMs) / 1000)} s`);
  return { name, url: url.href, service: await startService(url.href, { DATABASE_POOL_MAX: '4' }) };
}

/** Multiplies records over organizations and time; the newest month is the current one. */
async function fill(client, { events, months, organizations }) {
  await client.query(`SET timezone = 'UTC'`);
  for (let back = 0; back < months; back += 1) {
    const from = `date_trunc('month', now()) - interval '${back} months'`;
    const { rows } = await client.query(
      `SELECT to_char(${from}, 'YYYYMM') AS month, (${from})::text AS low, (${from} + interval '1 month')::text AS high`,
    );
    const [{ month, low, high }] = rows;
    await client.query(
      `CREATE TABLE IF NOT EXISTS audit_event_${month} PARTITION OF audit_event FOR VALUES FROM ('${low}') TO ('${high}')`,
    );
  }
  await client.query('CREATE TEMP TABLE pattern (n int PRIMARY KEY, event json)');
  await client.query(
    `INSERT INTO pattern SELECT ordinality - 1, value FROM json_array_elements($1::json) WITH ORDINALITY`,
    [JSON.stringify(eventsOf('any', PATTERNS))],
  );
  await client.query(`
    INSERT INTO audit_event
    SELECT 'org-' || i % ${organizations}, now() - (i::float8 / ${events + 1}) * interval '${months - 1} months',
      gen_random_uuid(), i / ${organizations} + 1, now(), event->>'principalId', event->>'action',
      event->>'targetResourceType', event->>'targetResourceId', event->>'status', event->>'outcomeDescription',
      event->>'dataClassification', event->>'correlationId', event->'sessionContext', event->'metadata'
    FROM generate_series(0, ${events - 1}) AS i JOIN pattern ON n = i % ${PATTERNS}`);
  await client.query(
    `INSERT INTO audit_organization SELECT organization_id, max(sequence), now() FROM audit_event GROUP BY 1`,
  );
  await client.query('VACUUM ANALYZE audit_event');
  await client.query('CHECKPOINT').catch(() => undefined); // needs a superuser
}

async function measure(fields) {
  const authorization = `Bearer ${await token([MEASURED])}`;
  const body = eventsOf(MEASURED, 500).map((event) => JSON.stringify(event));
  const each = (work) =>
    interleaved(Object.fromEntries(fields.map((one) => [one.name, () => work(one)])));
  const path = '/api/v1/audit/events';
  const pages = await each(({ service }) =>
    load({
      url: service.url + path,
      connections: READERS,
      headers: { authorization, 'cache-control': 'no-cache' },
    }),
  );
  const writes = await each(({ service }) =>
    load({
      url: service.url + path,
      connections: WRITERS,
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body,
    }),
  );
  return Promise.all(
    fields.map(async ({ name, url }) => ({
      name,
      page: pages[name],
      write: writes[name],
      planningMs: await planningTimeMs(url),
    })),
  );
}

/** How long PostgreSQL plans the statement of a first page, in the median, once its catalogue is in the cache. */
async function planningTimeMs(url) {
  const { pageStatement } = require(join(root, 'dist/audit/read/page-statement.js'));
  const { text, values } = pageStatement({
    organizations: [MEASURED],
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    limit: 51,
    offset: 0,
  });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const times = [];
    for (let time = 0; time <= PLANS; time += 1) {
      const { rows } = await client.query(`EXPLAIN (SUMMARY, FORMAT JSON) ${text}`, values);
      if (time > 0) times.push(rows[0]['QUERY PLAN'][0]['Planning Time']);
    }
    return median(times);
  } finally {
    await client.end();
  }
}
