// Reading: a page of 50 against SELECT * and JSON.stringify; deep pages; many organizations.
import { load, report, startReference, startService, token, withClient } from './support.mjs';

const MONTHS = 84;
const DEEP_PAGES = 10_000;
const PAGE = 50;
const ORGANIZATIONS = 1000;

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

export async function read(databaseUrl) {
  let service = await startService(databaseUrl); // migrates
  await service.stop();
  await seed(databaseUrl);
  service = await startService(databaseUrl);
  const reference = await startReference(databaseUrl);
  const events = `${service.url}/api/v1/audit/events`;
  // Fresh pages: read from PostgreSQL each time, as a miss is.
  const as = async (organizations) => ({
    authorization: `Bearer ${await token(organizations)}`,
    'cache-control': 'no-cache',
  });
  const connections = 8;
  try {
    const one = await as(['org-7']);
    const deepHeaders = await as(['deep']);
    for (const headers of [one, deepHeaders]) await load({ url: events, connections, headers }); // warm
    const plain = await load({ url: `${reference.url}/?organization_ids=org-7`, connections });
    const page = await load({ url: events, connections, headers: one });
    report('page of 50, 2 events a month (pages/s)', page, plain, 1.2);
    const plainDense = await load({ url: `${reference.url}/?organization_ids=deep`, connections });
    const first = await load({ url: events, connections, headers: deepHeaders });
    report('page of 50, 6 000 events a month (pages/s)', first, plainDense, 1.2);
    const cursor = await cursorAtPage(events, deepHeaders, DEEP_PAGES);
    const deepUrl = `${events}?cursor=${cursor}`;
    await load({ url: deepUrl, connections, headers: deepHeaders }); // warm, as page 1 was
    const deep = await load({
      url: deepUrl,
      connections,
      headers: deepHeaders,
    });
    report('keyset page 10 000 vs page 1 (pages/s)', deep, first, 0.77);
    const twenty = Array.from({ length: 20 }, (_, index) => `org-${index * 50}`);
    const some = await load({ url: events, connections, headers: await as(twenty) });
    report('first page of 20 organizations vs one (pages/s)', some, page, 0.33);
    const all = await load({ url: events, connections, headers: await as(['*']) });
    report(`first page of all ${ORGANIZATIONS} vs one (pages/s)`, all, page, 0.33);
  } finally {
    await service.stop();
    await reference.stop();
  }
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
