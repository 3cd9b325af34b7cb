// Selective filters through sealed indexes (docs/adr/0059): pages of rare values beside the unfiltered page, in one run; the same
// before the indexes are built; what they take, and what they cost writes.
import { eventsOf, randomOf } from './data.mjs';
import { median } from './figures.mjs';
import { interleaved, load, report, startService, token, withClient } from './support.mjs';

/** 10 million take five minutes to make, five to index, and 6 GB: only with BENCH_LARGE=1. */
const EVENTS = Number(
  process.env.BENCH_SEARCH_EVENTS ?? (process.env.BENCH_LARGE ? 10_000_000 : 1_000_000),
);
/** Of the databases that are written to. */
const WRITTEN = Math.min(EVENTS, 300_000);
const MONTHS = 84;
const OTHERS = 500;
const BIG = 'big';
const PATTERNS = 400;
/** Requests of a query in one round; a query that walks through everything takes seconds. */
const REQUESTS = 7;
const PATH = '/api/v1/audit/events';
const FIELDS = {
  principal_ids: 'a principal',
  actions: 'an action',
  resource_ids: 'a resource',
  correlation_ids: 'a correlation id',
  session_ids: 'a session',
  ip_addresses: 'an address',
};
const VALUES = { none: 'none', three: 'three', many: '400' };

export async function search(databaseUrl) {
  const url = await prepare(databaseUrl, EVENTS);
  const twenty = [BIG, ...Array.from({ length: 19 }, (_, n) => `org-${n + 1}`)];
  const authorization = `Bearer ${await token([BIG, ...twenty])}`;
  const walking = await startService(url, { DATABASE_SEAL_EVENTS: '0' });
  try {
    for (const value of ['none', 'three', 'many']) {
      const [unfiltered, filtered] = await once(walking, authorization, [
        query({}),
        query({ principal_ids: value }),
      ]);
      report(`today: a principal of ${VALUES[value]} events (ms)`, unfiltered, filtered);
    }
  } finally {
    await walking.stop();
  }
  await build(url, EVENTS);
  const service = await startService(url, { DATABASE_SEAL_EVENTS: '0' });
  try {
    await measure(service, authorization, twenty);
  } finally {
    await service.stop();
  }
}

function query(parameters, organizations = [BIG]) {
  const search = new URLSearchParams({
    organization_ids: organizations.join(','),
    limit: '50',
    ...parameters,
  });
  return `${PATH}?${search}`;
}

async function measure(service, authorization, twenty) {
  const cases = {
    unfiltered: query({}),
    'unfiltered by sequence': query({ sort_field: 'sequence' }),
    'unfiltered of 20 organizations': query({}, twenty),
  };
  const bars = {};
  const add = (name, path, beside, bar) => {
    cases[name] = path;
    bars[name] = { beside, bar };
  };
  for (const [field, what] of Object.entries(FIELDS)) {
    for (const value of Object.keys(VALUES)) {
      add(`${what} of ${VALUES[value]} events`, query({ [field]: value }), 'unfiltered', 0.5);
    }
  }
  const two = { principal_ids: 'many', actions: 'many' };
  add('a principal and an action', query(two), 'unfiltered', 0.2);
  add(
    'a principal and a frequent status',
    query({ principal_ids: 'many', statuses: 'success' }),
    'unfiltered',
    0.2,
  );
  const bySequence = { sort_field: 'sequence', principal_ids: 'three' };
  add('a principal of three, by sequence', query(bySequence), 'unfiltered by sequence', 0.5);
  add(
    'a principal of 400, by sequence',
    query({ ...bySequence, principal_ids: 'many' }),
    'unfiltered by sequence',
    0.5,
  );
  add(
    'a principal of 400, counted',
    query({ include_total: 'true', principal_ids: 'many' }),
    'unfiltered',
    0.5,
  );
  add(
    'a principal of three, of 20 organizations',
    query({ principal_ids: 'three' }, twenty),
    'unfiltered of 20 organizations',
    0.5,
  );
  add(
    'a principal of none, of 20 organizations',
    query({ principal_ids: 'none' }, twenty),
    'unfiltered of 20 organizations',
    0.5,
  );
  const figures = await interleaved(
    Object.fromEntries(
      Object.entries(cases).map(([name, path]) => [
        name,
        async () => (await once(service, authorization, [path]))[0],
      ]),
    ),
  );
  for (const [name, { beside, bar }] of Object.entries(bars)) {
    report(`${name} (ms)`, figures[beside], figures[name], bar);
  }
}

/** Milliseconds of each path, the median of REQUESTS, in one connection. */
async function once(service, authorization, paths) {
  const found = [];
  for (const path of paths) {
    const times = [];
    for (let n = 0; n < REQUESTS; n += 1) {
      const startedMs = performance.now();
      const response = await fetch(service.url + path, {
        headers: { authorization, 'cache-control': 'no-cache' },
      });
      await response.text();
      if (!response.ok) throw new Error(`${response.status} ${path}`);
      times.push(performance.now() - startedMs);
      if (n > 0 && times[n] > 1000) break;
    }
    found.push(median(times.slice(1)));
  }
  return found;
}

/** Migrates a database of its own on the same server, and fills it. */
async function prepare(databaseUrl, events, name = 'search', metadata = 'NULL') {
  const database = `${new URL(databaseUrl).pathname.slice(1)}_${name}`;
  await withClient(databaseUrl, (client) => client.query(`CREATE DATABASE ${database}`));
  const url = new URL(databaseUrl);
  url.pathname = `/${database}`;
  const empty = await startService(url.href, { DATABASE_SEAL_EVENTS: '0' });
  await empty.stop();
  const startedMs = performance.now();
  await withClient(url.href, (client) => fill(client, events, metadata));
  console.log(
    `  ${events / 1e6} M events: filled in ${Math.round((performance.now() - startedMs) / 1000)} s`,
  );
  return url.href;
}

/**
 * Nine tenths of one organization, in each month and order of time; values of 3 and 400 events spread over all. What is
 * read has no metadata, which no filter here looks at: that the unfiltered page is faster so makes the bars harder.
 */
async function fill(client, events, metadata) {
  await client.query(`SET timezone = 'UTC'`);
  await client.query(`SET synchronous_commit = off`);
  for (let back = 0; back < MONTHS; back += 1) {
    const from = `date_trunc('month', now()) - interval '${back} months'`;
    const { rows } = await client.query(
      `SELECT to_char(${from}, 'YYYYMM') AS month, (${from})::text AS low, (${from} + interval '1 month')::text AS high`,
    );
    const [{ month, low, high }] = rows;
    await client.query(
      `CREATE TABLE IF NOT EXISTS audit_event_${month} PARTITION OF audit_event FOR VALUES FROM ('${low}') TO ('${high}')`,
    );
  }
  await client.query(
    `CREATE TEMP TABLE pattern AS
     SELECT (ordinality - 1)::int AS n, value ->> 'principalId' AS principal, value ->> 'action' AS action, value ->> 'targetResourceType' AS type,
       value ->> 'targetResourceId' AS target, value ->> 'status' AS status, value ->> 'outcomeDescription' AS outcome,
       coalesce(value ->> 'dataClassification', 'INTERNAL') AS classification, value ->> 'correlationId' AS correlation, value -> 'sessionContext' AS session, value -> 'metadata' AS metadata
     FROM json_array_elements($1::json) WITH ORDINALITY`,
    [JSON.stringify(eventsOf('any', PATTERNS))],
  );
  await client.query('ANALYZE pattern');
  const often = Math.floor(events / 400);
  const third = Math.floor(events / 3);
  const value = (otherwise) =>
    `CASE WHEN i % ${third} = 11 THEN 'three' WHEN i % ${often} = 7 THEN 'many' ELSE ${otherwise} END`;
  await client.query(`
    INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, principal_id, action, target_resource_type,
      target_resource_id, status, outcome_description, data_classification, correlation_id, session_context, metadata)
    SELECT CASE WHEN i % 10 = 0 THEN 'org-' || i / 10 % ${OTHERS} ELSE '${BIG}' END,
      now() - interval '2 minutes' - ((${events} - i)::float8 / ${events}) * interval '${MONTHS - 1} months',
      gen_random_uuid(), i + 1, now(), ${value('principal')}, ${value('action')}, type, ${value(`target || '-' || i / ${PATTERNS}`)},
      status, outcome, classification, ${value(`correlation || '-' || i`)},
      CASE WHEN i % ${third} = 11 OR i % ${often} = 7
        THEN json_build_object('sessionId', ${value('NULL')}, 'ipAddress', ${value('NULL')}) ELSE session END, ${metadata}
    FROM generate_series(0, ${events - 1}) AS i JOIN pattern ON n = i % ${PATTERNS}`);
  await client.query(
    `INSERT INTO audit_organization SELECT organization_id, max(sequence), now() FROM audit_event GROUP BY 1`,
  );
  await client.query('VACUUM ANALYZE audit_event');
  await client.query('CHECKPOINT').catch(() => undefined); // needs a superuser
}

/** Lets a service build all indexes; says what they take, and returns the bytes of an event without and with them. */
async function build(url, events) {
  const sizes = async (client) => {
    const { rows } = await client.query(
      `SELECT pg_current_wal_lsn() - '0/0' AS wal,
              sum(pg_table_size(inhrelid))::float8 AS tables, sum(pg_indexes_size(inhrelid))::float8 AS indexes
       FROM pg_inherits WHERE inhparent = 'audit_event'::regclass`,
    );
    return rows[0];
  };
  const before = await withClient(url, sizes);
  const startedMs = performance.now();
  const service = await startService(url, {
    DATABASE_UPKEEP_INTERVAL_SECONDS: '2',
    DATABASE_SEAL_EVENTS: '10000',
  });
  const headers = { authorization: `Bearer ${await token(['*'], 'performance:read')}` };
  let figures = {};
  try {
    for (let same = 0; same < 4;) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const response = await fetch(
        `${service.url}/api/v1/performance/database/performance-report`,
        { headers },
      );
      const { sealedIndexes } = await response.json();
      same =
        sealedIndexes.totalIndexes > 0 && sealedIndexes.totalIndexes === figures.totalIndexes
          ? same + 1
          : 0;
      figures = sealedIndexes;
    }
  } finally {
    await service.stop();
  }
  const after = await withClient(url, sizes);
  const each = (bytes) => Math.round(bytes / events);
  console.log(
    `  ${figures.totalIndexes} indexes in ${Math.round((performance.now() - startedMs) / 1000)} s, ${figures.unsealedEvents} events left; ` +
      `bytes an event: tables ${each(before.tables)}, three indexes ${each(before.indexes)}, sealed ${each(after.indexes - before.indexes)}, ` +
      `WAL ${each(after.wal - before.wal)}`,
  );
  return [each(before.tables + before.indexes), each(after.tables + after.indexes)];
}

/** Writes to a database with sealed indexes, where more are built meanwhile, and to one without, interleaved. */
export async function sealing(databaseUrl) {
  const sealed = await prepare(databaseUrl, WRITTEN, 'sealed', 'metadata');
  const plain = await prepare(databaseUrl, WRITTEN, 'plain', 'metadata');
  const bytes = await build(sealed, WRITTEN);
  report('storage without vs with sealed indexes (bytes an event)', ...bytes, 1 / 1.4);
  const services = {
    sealed: await startService(sealed, { DATABASE_UPKEEP_INTERVAL_SECONDS: '2' }),
    plain: await startService(plain, { DATABASE_SEAL_EVENTS: '0' }),
  };
  try {
    const authorization = `Bearer ${await token([BIG])}`;
    const headers = { authorization, 'content-type': 'application/json' };
    const random = randomOf(20);
    const events = eventsOf(BIG, 2000).map((event) => ({
      ...event,
      correlationId: `c-${random()}`,
    }));
    const kinds = {
      'single writes, 16 clients': {
        path: PATH,
        connections: 16,
        body: events.map((event) => JSON.stringify(event)),
        bar: 0.85,
        of: 1,
      },
      'bulk of 1000, 2 clients': {
        path: `${PATH}/bulk`,
        connections: 2,
        body: [JSON.stringify({ events: events.slice(0, 1000) })],
        bar: 0.8,
        of: 1000,
      },
    };
    for (const [name, { path, connections, body, bar, of }] of Object.entries(kinds)) {
      const write = (service) => async () =>
        of * (await load({ url: service.url + path, connections, method: 'POST', headers, body }));
      const figures = await interleaved({
        sealed: write(services.sealed),
        plain: write(services.plain),
      });
      report(`${name}, sealed vs without (events/s)`, figures.sealed, figures.plain, bar);
    }
  } finally {
    await services.sealed.stop();
    await services.plain.stop();
  }
}
