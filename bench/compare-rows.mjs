// The rows of a comparison of two builds: the load of each, by protocol.
import { eventsOf } from './data.mjs';
import { load, token } from './support.mjs';

const EVENTS = '/api/v1/audit/events';
const NODE_FIELDS = 'node { id timestamp action metadata }';
const QUERY = `{ optimizedAuditEvents(pagination: { limit: 50 }, useCache: false) { edges { ${NODE_FIELDS} } } }`;
const MUTATION =
  'mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) { created } }';
const SINGLE_WRITERS = [1, 16, 64, 512];
const BULK_SIZES = [100, 1000, 10_000];
const CACHE_READERS = [8, 64];
/** An export of these has 6000 events a month. */
const EXPORTED_MONTHS = 3;

/**
 * Each row is `{ name, redis, work }`: `work(url, seconds)` loads the service at that URL, which has `redis` as its cache, and
 * resolves to a rate. Rows with Redis only if `redisUrl` is given.
 */
export async function comparedRows(redisUrl) {
  const reader = { authorization: `Bearer ${await token(['deep'], 'audit:read audit:export')}` };
  const json = { 'content-type': 'application/json' };
  const fresh = { ...reader, ...json, 'cache-control': 'no-cache' };
  const writer = { authorization: `Bearer ${await token(['org-1'])}` };
  const post = { method: 'POST', headers: { ...writer, ...json } };
  const row = (name, work, redis) => ({ name, work, redis });
  const at = (path, options) => (url, seconds) => load({ url: url + path, seconds, ...options });
  const input = (value) => encodeURIComponent(JSON.stringify(value));
  const page = { pagination: { limit: 50, includeTotal: false }, useCache: false };
  const events = eventsOf('org-1', 500);
  const several = (size) => Array.from({ length: size }, (_, index) => events[index % 500]);
  const cached = (tier, redis) =>
    CACHE_READERS.map((connections) =>
      row(
        `cached page of 50, ${tier}, ${connections} clients`,
        at(EVENTS, { connections, headers: reader }),
        redis,
      ),
    );
  return [
    row('page of 50, uncached', at(EVENTS, { connections: 16, headers: fresh })),
    row(
      'page of 50, GraphQL',
      at('/graphql', {
        ...post,
        connections: 8,
        headers: fresh,
        body: JSON.stringify({ query: QUERY }),
      }),
    ),
    row(
      'page of 50, tRPC',
      at(`/trpc/performance.getOptimizedAuditEvents?input=${input(page)}`, {
        connections: 8,
        headers: fresh,
      }),
    ),
    row('single reads', singleReads({ ...fresh, ...writer }, events[0])),
    row('export of NDJSON', exportRate(reader)),
    row('live feed from the first event', feedRate(reader)),
    ...cached('in process'),
    ...SINGLE_WRITERS.map((connections) =>
      row(
        `single writes, ${connections} clients`,
        at(EVENTS, { ...post, connections, body: events.map((event) => JSON.stringify(event)) }),
      ),
    ),
    ...BULK_SIZES.map((size) =>
      row(
        `bulk of ${size}, 2 clients`,
        at(`${EVENTS}/bulk`, {
          ...post,
          connections: 2,
          body: JSON.stringify({ events: several(size) }),
        }),
      ),
    ),
    row(
      'bulk of 1000 lines of NDJSON, 2 clients',
      at(`${EVENTS}/bulk`, {
        method: 'POST',
        headers: { ...writer, 'content-type': 'application/x-ndjson' },
        connections: 2,
        body: several(1000)
          .map((event) => `${JSON.stringify(event)}\n`)
          .join(''),
      }),
    ),
    row(
      'bulk of 100, GraphQL, 2 clients',
      at('/graphql', {
        ...post,
        connections: 2,
        body: JSON.stringify({
          query: MUTATION,
          variables: { events: several(100).map(inGraphql) },
        }),
      }),
    ),
    row(
      'bulk of 100, tRPC, 2 clients',
      at('/trpc/performance.bulkCreateAuditEvents', {
        ...post,
        connections: 2,
        body: JSON.stringify({ events: several(100) }),
      }),
    ),
    ...(redisUrl === undefined ? [] : cached('Redis', redisUrl)),
  ];
}

/** The rows whose names contain one of `parts`, and match `only`. @throws Error that names them all, if there is none */
export function chosenRows(rows, parts, only = process.env.BENCH_ONLY ?? '') {
  const expression = new RegExp(only);
  const chosen = rows.filter(
    ({ name }) =>
      expression.test(name) && (parts.length === 0 || parts.some((part) => name.includes(part))),
  );
  const strangers = parts.filter((part) => !rows.some(({ name }) => name.includes(part)));
  if (chosen.length > 0 && strangers.length === 0) return chosen;
  const wanted = strangers.length > 0 ? strangers.join(', ') : [...parts, only].join(', ');
  throw new Error(
    `No row is called ${wanted}. There are:\n${rows.map(({ name }) => `  ${name}`).join('\n')}`,
  );
}

/** Enumerations of GraphQL are in capitals. */
function inGraphql(event) {
  return { ...event, status: event.status.toUpperCase() };
}

/** Reads one event by its id. Seeded ones cannot be read so: their ids do not tell their months. */
function singleReads(headers, event) {
  return async (url, seconds) => {
    const body = JSON.stringify(event);
    const response = await fetch(url + EVENTS, { method: 'POST', headers, body });
    const { id } = await response.json();
    return load({ url: `${url}${EVENTS}/${id}`, connections: 16, headers, seconds });
  };
}

/** Bytes a second of complete exports, one after the other. */
function exportRate(headers) {
  const from = new Date();
  from.setUTCMonth(from.getUTCMonth() - EXPORTED_MONTHS);
  const query = `format=ndjson&start_date=${from.toISOString().slice(0, 10)}`;
  return async (url, seconds) => {
    const startedMs = performance.now();
    let bytes = 0;
    do bytes += await readBytes(`${url}${EVENTS}/stream?${query}`, headers, Infinity);
    while (performance.now() - startedMs < seconds * 1000);
    return (bytes * 1000) / (performance.now() - startedMs);
  };
}

/** Bytes a second of a feed that catches up. */
function feedRate(headers) {
  return async (url, seconds) => {
    const startedMs = performance.now();
    const bytes = await readBytes(`${url}${EVENTS}/tail?after_sequence=0`, headers, seconds);
    return (bytes * 1000) / (performance.now() - startedMs);
  };
}

async function readBytes(url, headers, seconds) {
  const endMs = performance.now() + seconds * 1000;
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.length;
    if (performance.now() >= endMs) break; // leaving the loop ends the request
  }
  return bytes;
}
