// node bench/builds.mjs BEFORE [AFTER]: two builds of the service (their `dist` folders) under the same load, round by round in
// turn, on one database. Prints what AFTER (./dist) does as a ratio of BEFORE, and exits 1 when a median is below 0.97.
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { eventsOf } from './data.mjs';
import { seed } from './read.mjs';
import { load, openDatabase, root, startProcess, startRedis, token } from './support.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 9);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 1.5);
const WANTED = 0.97;
const LIST = '/api/v1/audit/events';

const [before, after = join(root, 'dist')] = process.argv.slice(2);
if (before === undefined) {
  console.error('node bench/builds.mjs BEFORE [AFTER]: the dist folders of two builds');
  process.exit(2);
}
const only = process.env.BENCH_ONLY === undefined ? undefined : new RegExp(process.env.BENCH_ONLY);
let isWorse = false;

const database = await openDatabase();
try {
  await measureAll(database.url);
} finally {
  await database.close();
}
process.exitCode = isWorse ? 1 : 0;

async function measureAll(url) {
  const empty = await start(after, url); // migrates
  await empty.stop();
  await seed(url);
  await withBoth(url, {}, async (services) => {
    await reads(services);
    await exports(services);
    await cached(services, 'in process');
    await writes(services);
  });
  if (spawnSync('redis-server', ['--version']).error) return;
  const redis = await startRedis();
  try {
    await withBoth(url, { REDIS_URL: redis.url }, (services) => cached(services, 'Redis'));
  } finally {
    await redis.stop();
  }
}

function start(dist, url, env = {}) {
  return startProcess(join(resolve(dist), 'main.js'), '/health/ready', {
    ...env,
    NODE_ENV: 'staging',
    DATABASE_URL: url,
    DATABASE_POOL_MAX: '10',
    REQUEST_MAX_SIZE_MB: '64',
    AUTH_JWT_SECRET: 'bench-secret-bench-secret-bench-secret',
  });
}

async function withBoth(url, env, work) {
  const services = [
    await start(before, url, { ...env, CACHE_KEY_PREFIX: 'before' }),
    await start(after, url, { ...env, CACHE_KEY_PREFIX: 'after' }),
  ];
  try {
    await work(services.map((service) => service.url));
  } finally {
    await Promise.all(services.map((service) => service.stop()));
  }
}

async function reads(services) {
  const authorization = `Bearer ${await token(['deep'])}`;
  const json = { authorization, 'content-type': 'application/json', 'cache-control': 'no-cache' };
  const query = `{ optimizedAuditEvents(pagination: { limit: 50 }, useCache: false) { edges { node { id timestamp action metadata } } } }`;
  const schema = JSON.stringify({ query });
  const pagination = { limit: 50, includeTotal: false };
  const input = encodeURIComponent(JSON.stringify({ pagination, useCache: false }));
  const of = (path, rest) => (url) => load({ url: url + path, seconds: SECONDS, ...rest });
  await compare('page of 50, uncached', services, of(LIST, { connections: 16, headers: json }));
  await compare(
    'page of 50, GraphQL',
    services,
    of('/graphql', { connections: 8, method: 'POST', headers: json, body: schema }),
  );
  await compare(
    'page of 50, tRPC',
    services,
    of(`/trpc/performance.getOptimizedAuditEvents?input=${input}`, {
      connections: 8,
      headers: json,
    }),
  );
}

async function exports(services) {
  const headers = { authorization: `Bearer ${await token(['deep'], 'audit:read audit:export')}` };
  await compare('export of NDJSON', services, async (url) => {
    const startedMs = performance.now();
    const response = await fetch(`${url}${LIST}/stream?format=ndjson`, { headers });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    let bytes = 0;
    for await (const chunk of response.body) bytes += chunk.length;
    return bytes / (performance.now() - startedMs);
  });
}

async function cached(services, tier) {
  const headers = { authorization: `Bearer ${await token(['deep'])}` };
  for (const connections of [8, 64]) {
    await compare(`cached page of 50, ${tier}, ${connections} clients`, services, (url) =>
      load({ url: url + LIST, connections, headers, seconds: SECONDS }),
    );
  }
}

async function writes(services) {
  const authorization = `Bearer ${await token(['org-1'])}`;
  const headers = { authorization, 'content-type': 'application/json' };
  const events = eventsOf('org-1', 500);
  const body = events.map((event) => JSON.stringify(event));
  const post = { method: 'POST', headers, seconds: SECONDS };
  for (const connections of [1, 16, 64, 512]) {
    await compare(`single writes, ${connections} clients`, services, (url) =>
      load({ ...post, url: url + LIST, connections, body }),
    );
  }
  for (const size of [100, 1000, 10_000]) {
    const bulk = JSON.stringify({
      events: Array.from({ length: size }, (_, at) => events[at % 500]),
    });
    await compare(`bulk of ${size}, 2 clients`, services, (url) =>
      load({ ...post, url: `${url}${LIST}/bulk`, connections: 2, body: bulk }),
    );
  }
}

/** Rounds in which each build is first in turn; the first one warms up and does not count. */
async function compare(name, [one, two], work) {
  if (only && !only.test(name)) return;
  const ratios = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const figures = new Map();
    for (const url of round % 2 === 0 ? [one, two] : [two, one]) figures.set(url, await work(url));
    if (round > 0) ratios.push(figures.get(two) / figures.get(one));
  }
  ratios.sort((a, b) => a - b);
  const median = ratios[Math.floor(ratios.length / 2)];
  if (median < WANTED) isWorse = true;
  const [least, most] = [ratios[0], ratios.at(-1)];
  const spread = `${least.toFixed(2)}..${most.toFixed(2)}`;
  console.log(
    `${name.padEnd(44)} ${median.toFixed(3)}  ${spread}${median < WANTED ? '  WORSE' : ''}`,
  );
}
