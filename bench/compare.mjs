// Two builds of the service under the same load, in turn, on one database: what one does as a ratio of the other.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventsOf } from './data.mjs';
import { seed } from './read.mjs';
import { meanRatio } from './student.mjs';
import { load, openDatabase, startProcess, startRedis, token } from './support.mjs';

/**
 * Two processes of one build differ by up to 15 % for as long as they run (how the code was compiled, where the memory
 * lies), so that rounds within a pair of processes say little: each pair gives one ratio, and the pairs are compared.
 */
const FIRST_PAIRS = 4;
const ALL_PAIRS = 12;
/** A row within this distance of 1 after the first pairs is not measured further. */
const CLEAR = 0.03;
/** What moved by less is not named, however sure it is. */
const LEAST_MOVE = 0.05;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 2);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 0.6);
const WARM_UP_SECONDS = 1;
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const LIST = '/api/v1/audit/events';
const QUERY =
  '{ optimizedAuditEvents(pagination: { limit: 50 }, useCache: false) { edges { node { id timestamp action metadata } } } }';

/**
 * Measures the rows whose names match `only`, and prints each. Returns those that moved beyond noise: the 99.9 % interval of
 * rate or processor time excludes 1, by more than 5 %.
 */
export async function compareBuilds({ before, after, only = /(?:)/, pairs = ALL_PAIRS }) {
  const database = await openDatabase();
  const redis = spawnSync('redis-server', ['--version']).error ? undefined : await startRedis();
  try {
    await (await start(after, database.url)).stop(); // migrates
    await seed(database.url);
    const rows = (await rowsOf(redis?.url)).filter(({ name }) => only.test(name));
    const ratios = new Map(rows.map(({ name }) => [name, { rate: [], processor: [] }]));
    const isUnclear = ({ name }) => {
      const { rate, processor } = ratios.get(name);
      return [rate, processor].some((list) => Math.abs(meanRatio(list).mean - 1) > CLEAR);
    };
    for (let pair = 0; pair < pairs; pair += 1) {
      const wanted = pair < FIRST_PAIRS ? rows : rows.filter(isUnclear);
      for (const tier of [undefined, redis?.url]) {
        const group = wanted.filter((row) => row.redis === tier);
        if (group.length > 0) await measurePair(group, { before, after, url: database.url, pair });
      }
    }
    return rows.flatMap(({ name }) => verdict(name, ratios.get(name)));

    async function measurePair(group, { url, pair }) {
      const env = group[0].redis === undefined ? {} : { REDIS_URL: group[0].redis };
      const builds = pair % 2 === 0 ? [before, after] : [after, before];
      const services = [];
      try {
        for (const build of builds) {
          services.push(
            await start(build, url, { ...env, CACHE_KEY_PREFIX: `pair-${services.length}` }),
          );
        }
        const [one, two] = pair % 2 === 0 ? services : [...services].reverse();
        for (const { name, work } of group) {
          const { rate, processor } = await measureRow(work, one, two);
          ratios.get(name).rate.push(rate);
          ratios.get(name).processor.push(processor);
        }
      } finally {
        await Promise.all(services.map((service) => service.stop()));
      }
    }
  } finally {
    await redis?.stop();
    await database.close();
  }
}

/** Rate of `two` as a ratio of that of `one`, and its processor time per unit of work. */
async function measureRow(work, one, two) {
  const totals = new Map([one, two].map((service) => [service, { seconds: 0, cpu: 0, units: 0 }]));
  for (const service of [one, two]) await work(service.url, WARM_UP_SECONDS);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const service of round % 2 === 0 ? [one, two] : [two, one]) {
      const [startedMs, cpu] = [performance.now(), processorSeconds(service.pid)];
      const rate = await work(service.url, SECONDS);
      const seconds = (performance.now() - startedMs) / 1000;
      const total = totals.get(service);
      total.seconds += seconds;
      total.cpu += processorSeconds(service.pid) - cpu;
      total.units += rate * seconds;
    }
  }
  const [first, second] = [totals.get(one), totals.get(two)];
  return {
    rate: second.units / second.seconds / (first.units / first.seconds),
    processor: second.cpu / second.units / (first.cpu / first.units),
  };
}

/** Processor time of the process so far: fields 14 and 15 of /proc/PID/stat (proc(5)), after the name in brackets. */
function processorSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) / TICKS_PER_SECOND;
}

/** Prints a row, and returns it when it moved. */
function verdict(name, { rate, processor }) {
  const [speed, cost] = [meanRatio(rate), meanRatio(processor)];
  const moved = ({ mean, differs }) => differs && Math.abs(mean - 1) > LEAST_MOVE;
  const isSlower = moved(speed) && speed.mean < 1;
  const isCostlier = moved(cost) && cost.mean > 1;
  const change = isSlower
    ? 'SLOWER'
    : isCostlier
      ? 'COSTLIER'
      : moved(speed) || moved(cost)
        ? 'better'
        : '';
  const text = ({ mean, low, high }) => {
    return `${mean.toFixed(3)} (${low.toFixed(2)}..${high.toFixed(2)})`.padEnd(22);
  };
  console.log(
    `${name.padEnd(42)} rate ${text(speed)} processor ${text(cost)} ${String(rate.length).padStart(2)} pairs ${change}`,
  );
  if (change === '') return [];
  return [
    { name, change, rate: speed.mean, processor: cost.mean, isWorse: isSlower || isCostlier },
  ];
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

/** What is measured: `work` loads the service at a URL for some seconds, and resolves to a rate. */
async function rowsOf(redisUrl) {
  const reader = { authorization: `Bearer ${await token(['deep'], 'audit:read audit:export')}` };
  const fresh = { ...reader, 'content-type': 'application/json', 'cache-control': 'no-cache' };
  const writer = {
    authorization: `Bearer ${await token(['org-1'])}`,
    'content-type': 'application/json',
  };
  const pagination = { limit: 50, includeTotal: false };
  const input = encodeURIComponent(JSON.stringify({ pagination, useCache: false }));
  const of = (path, options) => (url, seconds) => load({ url: url + path, seconds, ...options });
  const events = eventsOf('org-1', 500);
  const single = events.map((event) => JSON.stringify(event));
  const bulk = (size) =>
    JSON.stringify({ events: Array.from({ length: size }, (_, at) => events[at % 500]) });
  const post = { method: 'POST', headers: writer };
  const row = (name, work, redis) => ({ name, work, redis });
  const cached = (connections, tier, redis) =>
    row(
      `cached page of 50, ${tier}, ${connections} clients`,
      of(LIST, { connections, headers: reader }),
      redis,
    );
  return [
    row('page of 50, uncached', of(LIST, { connections: 16, headers: fresh })),
    row(
      'page of 50, GraphQL',
      of('/graphql', {
        connections: 8,
        method: 'POST',
        headers: fresh,
        body: JSON.stringify({ query: QUERY }),
      }),
    ),
    row(
      'page of 50, tRPC',
      of(`/trpc/performance.getOptimizedAuditEvents?input=${input}`, {
        connections: 8,
        headers: fresh,
      }),
    ),
    row('export of NDJSON', (url) => exportRate(`${url}${LIST}/stream?format=ndjson`, reader)),
    cached(8, 'in process'),
    cached(64, 'in process'),
    ...[1, 16, 64, 512].map((connections) =>
      row(
        `single writes, ${connections} clients`,
        of(LIST, { ...post, connections, body: single }),
      ),
    ),
    ...[100, 1000, 10_000].map((size) =>
      row(
        `bulk of ${size}, 2 clients`,
        of(`${LIST}/bulk`, { ...post, connections: 2, body: bulk(size) }),
      ),
    ),
    ...(redisUrl === undefined ? [] : [8, 64].map((count) => cached(count, 'Redis', redisUrl))),
  ];
}

/** Bytes a second of one export. */
async function exportRate(url, headers) {
  const startedMs = performance.now();
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  let bytes = 0;
  for await (const chunk of response.body) bytes += chunk.length;
  return (bytes * 1000) / (performance.now() - startedMs);
}
