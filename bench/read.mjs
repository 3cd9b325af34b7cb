// Reading: pages of 50 through each API beside plain node:http, PostGraphile and PostgREST; deep pages; many organizations.
import { startPostgraphile, startPostgrest } from './neighbours.mjs';
import {
  interleaved,
  load,
  report,
  startReference,
  startService,
  token,
  withClient,
} from './support.mjs';

const MONTHS = 84;
const PAGE = 50;
const ORGANIZATIONS = 1000;
const CONNECTIONS = 8;
const EVENT_FIELDS =
  'id timestamp recordedAt sequence organizationId principalId action targetResourceType targetResourceId status ' +
  'outcomeDescription dataClassification correlationId metadata';

/** 84 months, 1000 small organizations (200 000 events) and one with 520 000, through plain SQL. */
export async function seed(databaseUrl) {
  await withClient(databaseUrl, async (client) => {
    await client.query(`SET timezone = 'UTC'`);
    for (let month = 0; month < MONTHS; month += 1) {
      const { rows } = await client.query(
        `SELECT to_char(date_trunc('month', now()) - $1 * interval '1 month', 'YYYY-MM') AS month`,
        [month],
      );
      const name = `audit_event_${rows[0].month.replace('-', '')}`;
      await client.query(
        `CREATE TABLE IF NOT EXISTS ${name} PARTITION OF audit_event
         FOR VALUES FROM ('${rows[0].month}-01') TO ('${rows[0].month}-01'::timestamptz + interval '1 month')`,
      );
    }
    for (const [organization, count] of [
      ["'org-' || (i % 1000)", 200_000],
      ["'deep'", 520_000],
    ]) {
      await client.query(`
        INSERT INTO audit_event
        SELECT ${organization}, now() - (i::float8 / ${count}) * interval '83 months', gen_random_uuid(), i, now(),
          'user-' || (i % 97), 'fhirPatientRead', 'Patient', 'pat-' || i, 'success', 'Opened the chart', 'PHI',
          'req-' || i, '{"sessionId":"s-1","ipAddress":"198.51.100.7","userAgent":"Mozilla/5.0 (X11; Linux x86_64)"}',
          '{"ward":"B2","durationMs":12.5,"tags":["a","b"],"note":"${'x'.repeat(200)}"}'
        FROM generate_series(1, ${count}) AS i`);
    }
    await client.query(
      'INSERT INTO audit_organization SELECT DISTINCT organization_id, 1000000 FROM audit_event',
    );
    await client.query('VACUUM ANALYZE audit_event');
  });
}

/** Reading: pages made in PostgreSQL each time, as a miss of the cache is. */
export async function read(databaseUrl) {
  let service = await startService(databaseUrl); // migrates
  await service.stop();
  await seed(databaseUrl);
  service = await startService(databaseUrl, { PAGINATION_MAX_OFFSET: '1000000' });
  const plain = await startReference(databaseUrl);
  const postgraphile = await startPostgraphile(databaseUrl);
  const postgrest = await startPostgrest(databaseUrl);
  const events = `${service.url}/api/v1/audit/events`;
  const run = { service, events, plain, postgraphile, postgrest };
  try {
    for (const [organization, what] of [
      ['org-7', '2 events a month'],
      ['deep', '6 000 events a month'],
    ]) {
      await freshPages(run, organization, what);
    }
    await deepPages(run);
    await severalOrganizations(run);
  } finally {
    await Promise.all([service, plain, postgraphile, postgrest].map((server) => server?.stop()));
  }
}

async function as(organizations) {
  return {
    authorization: `Bearer ${await token(organizations)}`,
    'cache-control': 'no-cache',
  };
}

async function freshPages({ service, events, plain, postgraphile, postgrest }, organization, what) {
  const headers = await as([organization]);
  const page = (request) => () => load({ connections: CONNECTIONS, ...request });
  const works = {
    rest: page({ url: events, headers }),
    plain: page({ url: `${plain.url}/?organization_ids=${organization}` }),
  };
  const graphql = graphqlPage(service, headers);
  const trpc = trpcPage(service, headers);
  if (await isThere(graphql)) works.graphql = page(graphql);
  else console.log('GraphQL: NOT MEASURED, the service has no such API');
  if (await isThere(trpc)) works.trpc = page(trpc);
  else console.log('tRPC: NOT MEASURED, the service has no such API');
  if (postgraphile) works.postgraphile = page(postgraphile.pageOf(organization));
  if (postgrest) works.postgrest = page({ url: postgrest.pageOf(organization) });
  const figures = await interleaved(works);
  const name = (api) => `page of 50, ${what}, ${api}`;
  report(`${name('REST vs plain')} (pages/s)`, figures.rest, figures.plain, 1.3);
  for (const reference of ['postgraphile', 'postgrest']) {
    if (!figures[reference]) continue;
    for (const api of ['rest', 'graphql', 'trpc'].filter((one) => figures[one])) {
      const wanted = reference === 'postgraphile' ? 1 : undefined;
      report(
        `${name(`${api} vs ${reference}`)} (pages/s)`,
        figures[api],
        figures[reference],
        wanted,
      );
    }
  }
}

function graphqlPage({ url }, headers) {
  const query = `{ optimizedAuditEvents(pagination: { limit: 50 }, useCache: false) {
    edges { node { ${EVENT_FIELDS} sessionContext { sessionId ipAddress userAgent geolocation } } } } }`;
  return {
    url: `${url}/graphql`,
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query }),
  };
}

function trpcPage({ url }, headers) {
  const pagination = { limit: 50, includeTotal: false }; // the others do not count either
  const input = encodeURIComponent(JSON.stringify({ pagination, useCache: false }));
  return { url: `${url}/trpc/performance.getOptimizedAuditEvents?input=${input}`, headers };
}

/** Whether an API is there; one that refuses is a fault of the benchmark. */
async function isThere({ url, method, headers, body }) {
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  if (response.status === 404) return false;
  if (response.status !== 200 || text.includes('"errors"')) throw new Error(`${url}: ${text}`);
  return true;
}

/** Pages 100 and 10 000 against page 1, by cursor and by offset. */
async function deepPages({ events }) {
  const headers = await as(['deep']);
  const page = (query) => () =>
    load({ url: `${events}?${query}`, connections: CONNECTIONS, headers });
  const keyset = async (number) => page(`cursor=${await cursorAtPage(events, headers, number)}`);
  const { first, ...others } = await interleaved({
    first: page('limit=50'),
    'keyset page 100': await keyset(100),
    'keyset page 10 000': await keyset(10_000),
    'offset page 100': page(`offset=${99 * PAGE}`),
    'offset page 10 000': page(`offset=${9999 * PAGE}`),
  });
  for (const [name, figures] of Object.entries(others)) {
    report(
      `${name} vs page 1 (pages/s)`,
      figures,
      first,
      name.startsWith('keyset') ? 0.77 : undefined,
    );
  }
}

async function severalOrganizations({ events }) {
  const page = (headers) => () => load({ url: events, connections: CONNECTIONS, headers });
  const twenty = Array.from({ length: 20 }, (_, index) => `org-${index * 50}`);
  const { one, some, all } = await interleaved({
    one: page(await as(['org-7'])),
    some: page(await as(twenty)),
    all: page(await as(['*'])),
  });
  report('first page of 20 organizations vs one (pages/s)', some, one, 0.33);
  report(`first page of all ${ORGANIZATIONS} vs one (pages/s)`, all, one, 0.33);
}

/** The cursor of page `number` of 50, reached in steps of 1000 events: a cursor is not bound to the page size. */
async function cursorAtPage(events, headers, number) {
  let cursor;
  for (let seen = 0; seen < (number - 1) * PAGE;) {
    const limit = Math.min(1000, (number - 1) * PAGE - seen);
    const query = new URLSearchParams({ limit, ...(cursor ? { cursor } : {}) });
    const response = await fetch(`${events}?${query}`, { headers });
    const page = await response.json();
    seen += page.data.length;
    cursor = page.pagination.nextCursor;
    if (!cursor) throw new Error(`Only ${seen} events: ${JSON.stringify(page).slice(0, 300)}`);
  }
  return cursor;
}
