// node bench/cache-replay.mjs: replays requests on the built classes of the cache, on a clock of its own, by last use
// with a fixed lifetime and adaptively: hit ratio, and bytes read from the store. BENCH_DATA names the real records.
import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { randomOf } from './data.mjs';

const DIST = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const require = createRequire(import.meta.url);
const { queryHash } = require(`${DIST}/caching/cache-key.js`);
const { CachePolicy } = require(`${DIST}/caching/cache-policy.js`);
const { CacheStatistics } = require(`${DIST}/caching/cache-statistics.js`);
const { DemandEstimator } = require(`${DIST}/caching/demand-estimator.js`);
const { MemoryStore } = require(`${DIST}/caching/memory-store.js`);
const { DEFAULT_READ_POLICY, ResponseCache } = require(`${DIST}/caching/response-cache.js`);

const MB = 1024 * 1024;
const PAGE = 50;
const FILTERS = ['principalId', 'targetResourceId'];
/** Of a fixed lifetime; the longest that is learned. */
const [TTL_SECONDS, MAX_TTL_SECONDS] = [60, 3600];
const POLICIES = [
  { name: `last use, ${TTL_SECONDS} s`, ttlSeconds: TTL_SECONDS, isAdaptive: false },
  { name: `last use, ${MAX_TTL_SECONDS} s`, ttlSeconds: MAX_TTL_SECONDS, isAdaptive: false },
  { name: 'adaptive', ttlSeconds: TTL_SECONDS, isAdaptive: true },
];
/** Hits whose text is compared with the store: one in so many. Versions are compared each time. */
const COMPARED = 50;

let nowMs = 0;
const startMs = Date.UTC(2026, 0, 1);
performance.now = () => nowMs;
Date.now = () => startMs + nowMs;

/** Events in memory, each organization's in the order of writing, with a version that each write moves. */
class Store {
  organizations = new Map();
  byId = new Map();

  write({ organizationId, ...event }) {
    const { events, filtered } = this.of(organizationId);
    events.push(event);
    this.byId.set(event.id, event);
    for (const name of FILTERS) {
      const key = `${name} ${event[name]}`;
      const found = filtered.get(key);
      if (found) found.push(event);
      else filtered.set(key, [event]);
    }
  }

  of(id) {
    let organization = this.organizations.get(id);
    if (!organization)
      this.organizations.set(id, (organization = { events: [], filtered: new Map() }));
    return organization;
  }

  versionOf(id) {
    return String(this.of(id).events.length);
  }

  /** Newest 50 events that match, or one event, as JSON. */
  find({ organizationId, filter, id }) {
    if (id !== undefined) return this.byId.get(id).text;
    const { events, filtered } = this.of(organizationId);
    const found = filter ? (filtered.get(`${filter.name} ${filter.value}`) ?? []) : events;
    const texts = found.slice(-PAGE).map(({ text }) => text);
    return `{"data":[${texts.reverse().join(',')}]}`;
  }
}

/** A kind of cached read whose `tailData` is the version at the read: a hit of another one would be stale. */
class Reads {
  namespace = 'audit_events';
  bytes = 0;
  loads = 0;

  constructor(store) {
    this.store = store;
  }

  currentVersion([organization]) {
    return Promise.resolve(this.store.versionOf(organization));
  }

  read(description) {
    const head = Buffer.from(this.store.find(description.request));
    this.bytes += head.length;
    this.loads += 1;
    return Promise.resolve({
      head,
      tailData: this.store.versionOf(description.request.organizationId),
    });
  }

  accepts() {
    return true;
  }
}

/** Stands for Redis: unbounded, with a countdown, as shared-tier.ts finds it. */
class SharedTier {
  kept = new Map();
  sets = 0;
  bytes = 0;
  found = 0;

  get(key) {
    const found = this.kept.get(key);
    const leftMs = (found?.endsAtMs ?? 0) - nowMs;
    if (leftMs <= 0) return undefined;
    this.found += 1;
    return { value: { stored: JSON.parse(found.text), leftMs } };
  }

  set(key, { value, expires }) {
    const text = JSON.stringify(value);
    this.sets += 1;
    this.bytes += text.length;
    this.kept.set(key, { text, endsAtMs: expires - startMs });
    return this;
  }

  delete(key) {
    return this.kept.delete(key);
  }

  clear() {
    this.kept.clear();
  }
}

function cacheOf({ ttlSeconds, isAdaptive }, sizeBytes, shared) {
  const estimator = isAdaptive
    ? new DemandEstimator(sizeBytes, {
        usualMs: ttlSeconds * 1000,
        minMs: 10_000,
        maxMs: MAX_TTL_SECONDS * 1000,
      })
    : null;
  const memory = new MemoryStore(sizeBytes, estimator ?? undefined);
  const plain = { useKeyPrefix: false, serialize: undefined, deserialize: undefined };
  const stores = [memory, ...(shared ? [shared] : [])].map(
    (store) => new Keyv({ store, ...plain }),
  );
  const policy = new CachePolicy({
    enabled: true,
    defaultTtlSeconds: ttlSeconds,
    maxSizeBytes: sizeBytes,
    keyPrefix: 'replay',
    excludeEndpoints: [],
    disablePatterns: [],
    ttlOverrides: [],
  });
  const statistics = new CacheStatistics();
  const redis = { isAvailable: shared !== undefined };
  const cache = new ResponseCache(
    createCache({ stores }),
    memory,
    redis,
    policy,
    statistics,
    estimator,
  );
  return { cache, memory, statistics };
}

/** Replays a trace on as many replicas in turn. Throws at a stale response. */
async function replay(trace, policy, sizeBytes, replicas = 1) {
  nowMs = 0;
  const shared = replicas > 1 ? new SharedTier() : undefined;
  const store = new Store();
  const reads = new Reads(store);
  const caches = Array.from({ length: replicas }, () => cacheOf(policy, sizeBytes, shared));
  const descriptions = new Map();
  let [hits, requests] = [0, 0];
  for (const { atMs, write, request } of trace()) {
    nowMs = Math.max(nowMs, atMs);
    if (write) {
      store.write(write);
      continue;
    }
    let description = descriptions.get(request.key);
    if (!description) {
      const query = queryHash(request.key);
      description = { tenants: [request.organizationId], query, variant: '', request };
      descriptions.set(request.key, description);
    }
    requests += 1;
    const { cache } = caches[requests % replicas];
    const options = { path: '/audit/events', policy: DEFAULT_READ_POLICY };
    const { entry, status, key } = await cache.getOrLoad(reads, description, options);
    if (entry.tailData !== store.versionOf(request.organizationId)) {
      throw new Error(`STALE: ${key} was read at version ${entry.tailData}`);
    }
    if (status === 'HIT') {
      hits += 1;
      if (hits % COMPARED === 0 && entry.sharedText !== store.find(request)) {
        throw new Error(`WRONG: ${key}`);
      }
    }
  }
  return { requests, hits, reads, shared };
}

/**
 * Readers of recorded events, derived from the records: dashboards ask for the newest page of an organization, by Zipf's
 * law over the organizations in the order of their sizes; others look at a random earlier event, so by the frequencies of
 * the data, and ask for its principal's page, its resource's, or for itself, more often soon after it was written.
 */
function* readers(events, requestsPerWrite) {
  const random = randomOf(7);
  const sizes = new Map();
  for (const { organizationId } of events) {
    sizes.set(organizationId, (sizes.get(organizationId) ?? 0) + 1);
  }
  const ranked = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a));
  const pickRank = zipf(ranked.length, 1, random);
  const firstMs = events[0].timeMs;
  for (const [at, event] of events.entries()) {
    const atMs = event.timeMs - firstMs;
    yield { atMs, write: event };
    const nextMs = (events[at + 1]?.timeMs ?? event.timeMs) - firstMs;
    for (let number = 0; number < requestsPerWrite; number += 1) {
      const askedMs = atMs + ((nextMs - atMs) * (number + random())) / requestsPerWrite;
      yield { atMs: askedMs, request: requestOf(at) };
    }
  }

  function requestOf(at) {
    const kind = random();
    if (kind < 0.5) {
      const organizationId = ranked[pickRank()];
      return { key: `page ${organizationId}`, organizationId };
    }
    const isRecent = random() < 0.5;
    const { organizationId, principalId, targetResourceId, id } =
      events[
        isRecent ? Math.max(0, at - Math.floor(200 * random() ** 2)) : Math.floor(at * random())
      ];
    if (kind < 0.7) return filtered(organizationId, 'principalId', principalId);
    if (kind < 0.8) return filtered(organizationId, 'targetResourceId', targetResourceId);
    return { key: `event ${id}`, organizationId, id };
  }
}

function filtered(organizationId, name, value) {
  return { key: `${name} ${organizationId} ${value}`, organizationId, filter: { name, value } };
}

/** Ranks from 0, the first the most frequent, by Zipf's law with this exponent. */
function zipf(count, exponent, random) {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank += 1) sums[rank] = sum += 1 / (rank + 1) ** exponent;
  return () => {
    const wanted = random() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Single events of 20 organizations, by Zipf's law; after each quarter of the requests other ones are popular. */
function* shift({ keys = 20_000, requests = 120_000, scan = 0, shifts = 4 } = {}) {
  const random = randomOf(11);
  const pick = zipf(keys, 0.9, random);
  const text = (id) => `{"id":"${id}","x":"${'x'.repeat(400 + Math.floor(1600 * random()))}"}`;
  for (let id = 0; id < keys; id += 1) {
    yield { atMs: 0, write: { organizationId: `org-${id % 20}`, id, text: text(id) } };
  }
  let scanned = 0;
  for (let number = 0; number < requests; number += 1) {
    const atMs = number * 20;
    if (number % 6000 === 0) {
      const organizationId = `org-${(number / 6000) % 20}`;
      const id = `written-${number}`;
      yield { atMs, write: { organizationId, id, text: text(id) } };
    }
    for (let more = 0; more < scan; more += 1) {
      const id = `scanned-${(scanned += 1)}`;
      yield { atMs, write: { organizationId: 'org-of-scan', id, text: text(id) } };
      yield { atMs, request: { key: id, organizationId: 'org-of-scan', id } };
    }
    const phase = Math.floor((number * shifts) / requests);
    const id = (pick() + phase * 7919) % keys;
    yield { atMs, request: { key: `event ${id}`, organizationId: `org-${id % 20}`, id } };
  }
}

function recordsOf(name, file, map) {
  const path = join(process.env.BENCH_DATA ?? '', name, 'records.ndjson.gz');
  if (!process.env.BENCH_DATA || !existsSync(path)) {
    console.log(`${name}: NOT MEASURED, BENCH_DATA has no ${name}`);
    return undefined;
  }
  const mapping = require(join(DIST, 'import', file))[map];
  const events = gunzipSync(readFileSync(path))
    .toString()
    .trimEnd()
    .split('\n')
    .map((line, number) => {
      const value = JSON.parse(line);
      const { organizationId, principalId, targetResourceId, timestamp } = mapping({ value });
      const timeMs = Date.parse(timestamp);
      return { id: number, organizationId, principalId, targetResourceId, timeMs, text: line };
    });
  return events.sort((a, b) => a.timeMs - b.timeMs);
}

const wikipedia = recordsOf('wikipedia-edits', 'wikipedia.mapping.js', 'mapWikipedia');
const cloudTrail = recordsOf('cloudtrail-invictus', 'cloudtrail.mapping.js', 'mapCloudTrail');
const TRACES = [
  ...(wikipedia ? [['wikipedia-edits', () => readers(wikipedia, 4), [2, 8, 32]]] : []),
  ...(cloudTrail ? [['cloudtrail-invictus', () => readers(cloudTrail, 20), [1, 2, 4]]] : []),
  ['shift of popularity', () => shift(), [2, 8, 32]],
  ['scan of one organization', () => shift({ scan: 2, shifts: 1, requests: 60_000 }), [2, 8, 32]],
];
const only = process.argv[2];

console.log('| trace | cache, MB | entries stay by | requests | hits, % | MB from the store |');
for (const [name, trace, sizes] of TRACES) {
  if (only && !name.includes(only)) continue;
  for (const size of sizes) {
    for (const policy of POLICIES) {
      const { requests, hits, reads } = await replay(trace, policy, size * MB);
      row(
        name,
        size,
        policy.name,
        requests,
        percent(hits, requests),
        (reads.bytes / MB).toFixed(1),
      );
    }
  }
}

console.log(
  '\n| two replicas, trace | cache, MB | entries stay by | hits, % | MB from the store | shared: sets | MB set | found |',
);
for (const [name, trace, [, size]] of TRACES) {
  if (only && !name.includes(only)) continue;
  for (const policy of POLICIES) {
    const { requests, hits, reads, shared } = await replay(trace, policy, size * MB, 2);
    const { sets, bytes, found } = shared;
    const [read, set] = [reads.bytes, bytes].map((count) => (count / MB).toFixed(1));
    row(name, size, policy.name, percent(hits, requests), read, sets, set, found);
  }
}

function row(...cells) {
  console.log(`| ${cells.join(' | ')} |`);
}

function percent(part, whole) {
  return ((100 * part) / whole).toFixed(2);
}
