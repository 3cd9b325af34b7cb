// Memory of PostgreSQL's backends while one client asks 100 000 different queries: months, filters, orders and limits, by REST,
// GraphQL and tRPC. `node bench/backends.mjs`; BENCH_QUERIES is another number. Exits 1 when the backends hold more at the end
// than after three tenths, by more than 5 %: until then the bounded places for statements fill (decision 30).
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { seed } from './read.mjs';
import { openDatabase, residentMb, startService, token, withClient } from './support.mjs';

const QUERIES = Number(process.env.BENCH_QUERIES ?? 100_000);
const CONNECTIONS = 16;
const STEPS = 10;
const FILLED_STEPS = 3;
const GROWTH = 1.05;
const MONTHS = 84;
const QUERY = `query Page($filter: AuditEventFilter, $limit: Int) {
  optimizedAuditEvents(filter: $filter, pagination: { limit: $limit }, useCache: false) { edges { node { id timestamp action } } }
}`;

const database = await openDatabase();
try {
  const empty = await startService(database.url); // migrates
  await empty.stop();
  await seed(database.url);
  const service = await startService(database.url);
  try {
    process.exitCode = (await measure(service)) ? 0 : 1;
  } finally {
    await service.stop();
  }
} finally {
  await database.close();
}

async function measure(service) {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const headers = { authorization: `Bearer ${await token(['*'])}`, 'cache-control': 'no-cache' };
  const statuses = new Map();
  let sent = 0;
  const ask = async (until) => {
    while (sent < until) {
      const status = await send(agent, service.url, headers, sent++);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const samples = [];
  console.log('queries   backends   private MB   service MB');
  for (let step = 1; step <= STEPS; step += 1) {
    const until = Math.round((QUERIES * step) / STEPS);
    await Promise.all(Array.from({ length: CONNECTIONS }, () => ask(until)));
    const backends = await backendsOf();
    samples.push(backends.privateMb);
    console.log(
      `${String(until).padStart(7)}   ${String(backends.count).padStart(8)}   ${backends.privateMb.toFixed(1).padStart(10)}   ` +
        `${residentMb(service.pid).toFixed(0).padStart(10)}`,
    );
  }
  agent.destroy();
  console.log(
    `statuses: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')}`,
  );
  const growth = samples.at(-1) / samples[FILLED_STEPS - 1];
  const filled = (QUERIES / STEPS) * FILLED_STEPS;
  console.log(`after ${QUERIES} queries ${growth.toFixed(2)} times what ${filled} left`);
  return growth <= GROWTH && [...statuses.keys()].every((status) => status === 200);
}

/** The backends of clients on this database and the memory that is theirs alone (shared buffers are not counted). */
function backendsOf() {
  return withClient(database.url, async (client) => {
    const { rows } = await client.query(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    const kb = rows.map(({ pid }) => {
      const [, anonymous] = /Pss_Anon:\s+(\d+)/.exec(
        readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'),
      );
      return Number(anonymous);
    });
    return { count: rows.length, privateMb: kb.reduce((sum, one) => sum + one, 0) / 1024 };
  });
}

/** The n-th query; no two are the same text. Resolves with the status of its response, once that was read. */
function send(agent, url, headers, n) {
  const random = generator(n);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const { dateRange, ...lists } = filtersOf(n, random, pick);
  const order = {
    field: pick(['timestamp', 'timestamp', 'sequence']),
    direction: pick(['asc', 'desc']),
  };
  const limit = 1 + Math.floor(random() * 50);
  if (n % 10 === 8) {
    const variables = {
      filter: { dateRange, ...lists, statuses: lists.statuses?.map((one) => one.toUpperCase()) },
      limit,
    };
    return exchange(agent, `${url}/graphql`, headers, JSON.stringify({ query: QUERY, variables }));
  }
  if (n % 10 === 9) {
    const input = {
      filter: { dateRange, ...lists },
      pagination: { limit, includeTotal: false },
      useCache: false,
    };
    const search = new URLSearchParams({ input: JSON.stringify(input) });
    return exchange(agent, `${url}/trpc/performance.getOptimizedAuditEvents?${search}`, headers);
  }
  const search = new URLSearchParams({
    limit: String(limit),
    sort_field: order.field,
    sort_direction: order.direction,
  });
  search.set('start_date', dateRange.startDate);
  search.set('end_date', dateRange.endDate);
  for (const [name, values] of Object.entries(lists)) {
    search.set(
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      values.join(','),
    );
  }
  return exchange(agent, `${url}/api/v1/audit/events?${search}`, headers);
}

function filtersOf(n, random, pick) {
  const from = Math.floor(random() * MONTHS);
  const months = 1 + Math.floor(random() * pick([1, 2, 12, 84]));
  const filters = {
    dateRange: { startDate: instant(from + months, n), endDate: instant(from, n) },
  };
  const optional = {
    organizationIds: () =>
      Array.from(
        { length: 1 + Math.floor(random() * 4) },
        () => `org-${Math.floor(random() * 1000)}`,
      ),
    actions: () => [`fhirPatientRead`, `action-${n}`].slice(0, 1 + Math.floor(random() * 2)),
    principalIds: () => [`user-${Math.floor(random() * 97)}`],
    statuses: () => ['success'],
    resourceTypes: () => ['Patient'],
    correlationIds: () => [`req-${n}`],
  };
  for (const [name, make] of Object.entries(optional)) {
    if (random() < 0.35) filters[name] = make();
  }
  return filters;
}

/** A moment some months back, different for each n. */
function instant(monthsBack, n) {
  const at = new Date();
  at.setUTCDate(1);
  at.setUTCMonth(at.getUTCMonth() - monthsBack);
  return new Date(Math.floor(at.getTime() / 86_400_000) * 86_400_000 + n).toISOString();
}

function exchange(agent, url, headers, body) {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const sending = request(
      url,
      { agent, method, headers: { ...headers, ...type } },
      (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode));
      },
    );
    sending.once('error', reject);
    sending.end(body);
  });
}

/** Numbers of [0, 1) that a seed decides (mulberry32). */
function generator(seedNumber) {
  let state = (seedNumber + 1) * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
