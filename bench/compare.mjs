// Two builds of the service under the same load, in turn, on one database: what one does as a ratio of the other.
// node bench/compare.mjs BEFORE AFTER [ROW …]: the dist folders of two builds; `npm run bench -- --compare COMMIT` makes one.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { comparedRow, isBeyond, lineOf, markdownOf, movesOf } from './compare-report.mjs';
import { chosenRows, comparedRows } from './compare-rows.mjs';
import { seed } from './read.mjs';
import { meanRatio } from './student.mjs';
import { openDatabase, startProcess, startRedis } from './support.mjs';

/**
 * Two processes of one build differ by up to 15 % for as long as they run (how the code was compiled, where the memory
 * lies), so that rounds within a pair of processes say little: each pair gives one ratio, and the pairs are compared.
 */
const FIRST_PAIRS = 4;
const ALL_PAIRS = 12;
/** A row within this distance of 1 after the first pairs is not measured further. */
const CLEAR = 0.03;
/** Many short loads in turn: what else the machine does meets both alike. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 4);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 0.3);
const WARM_UP_SECONDS = Math.min(1, 3 * SECONDS);

/** Options of a comparison on the command line. */
export const COMPARE_OPTIONS = {
  pairs: { type: 'string' },
  bound: { type: 'string' },
  out: { type: 'string' },
};
const COMPARE_USAGE =
  'node bench/compare.mjs BEFORE AFTER [ROW …] [--pairs N] [--bound R] [--out FILE]';

/**
 * Compares two builds and reports: a line for each row, what moved, and with `out` a file of JSON, and one of Markdown beside
 * it. Rows are those whose names contain one of `parts`, of all that match BENCH_ONLY. Resolves to the exit code: 1 if a row
 * is worse; with `bound` only if one is surely below that part of the old rate, or beyond 1 / `bound` of its processor time.
 * @throws Error for a folder without a build, a row that does not exist, an option out of range
 */
export async function reportComparison({ before, after, names, parts = [], options = {} }) {
  for (const folder of [before, after]) {
    if (!existsSync(join(folder, 'main.js'))) {
      throw new Error(`${folder} holds no build: there is no main.js in it`);
    }
  }
  const pairs = options.pairs === undefined ? ALL_PAIRS : Number(options.pairs);
  if (!Number.isInteger(pairs) || pairs < 2) throw new Error('--pairs takes a number from 2 on');
  const bound = options.bound === undefined ? undefined : Number(options.bound);
  if (bound !== undefined && !(bound > 0 && bound < 1)) {
    throw new Error('--bound takes a ratio between 0 and 1, such as 0.8');
  }
  const load = [loadText()];
  const rows = await compareBuilds({ before, after, parts, pairs });
  load.push(loadText());
  console.log(`\n${names.after} compared with ${names.before} (load ${load.join(', ')}):`);
  for (const text of movesOf(rows)) console.log(`  ${text}`);
  if (options.out !== undefined) {
    const file = resolve(options.out);
    const report = { ...names, load, rows };
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
    writeFileSync(`${file.replace(/\.json$/, '')}.md`, markdownOf(report));
  }
  if (bound === undefined) return rows.some(({ isWorse }) => isWorse) ? 1 : 0;
  const beyond = rows.filter((row) => row.isWorse && isBeyond(row, bound));
  for (const { name } of beyond) console.log(`  BEYOND the bound of ${bound}: ${name}`);
  return beyond.length > 0 ? 1 : 0;
}

/** Measures the rows, prints each, and resolves to them (see comparedRow). */
export async function compareBuilds({ before, after, parts = [], pairs = ALL_PAIRS }) {
  if (process.platform !== 'linux') {
    throw new Error('Builds are compared on Linux only: processor times come from /proc');
  }
  const hasRedis = spawnSync('redis-server', ['--version']).error === undefined;
  if (!hasRedis) console.log('Rows with Redis: NOT MEASURED, there is no redis-server on the PATH');
  const redis = hasRedis ? await startRedis() : undefined;
  let database;
  try {
    const rows = chosenRows(await comparedRows(redis?.url), parts);
    database = await openDatabase();
    await (await start(after, database.url)).stop(); // migrates
    await seed(database.url);
    const ratios = new Map(rows.map(({ name }) => [name, { rate: [], processor: [] }]));
    const isUnclear = ({ name }) => {
      const { rate, processor } = ratios.get(name);
      return [rate, processor].some((list) => Math.abs(meanRatio(list).mean - 1) > CLEAR);
    };
    for (let pair = 0; pair < pairs; pair += 1) {
      const wanted = pair < FIRST_PAIRS ? rows : rows.filter(isUnclear);
      for (const tier of [undefined, redis?.url]) {
        const group = wanted.filter((row) => row.redis === tier);
        if (group.length > 0) await measurePair(group, pair, ratios);
      }
      if (process.stderr.isTTY) process.stderr.write(`\r${pair + 1} of at most ${pairs} pairs`);
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const compared = rows.map(({ name }) => comparedRow(name, ratios.get(name)));
    for (const row of compared) console.log(lineOf(row));
    return compared;
  } finally {
    await redis?.stop();
    await database?.close();
  }

  async function measurePair(group, pair, ratios) {
    const env = group[0].redis === undefined ? {} : { REDIS_URL: group[0].redis };
    const builds = pair % 2 === 0 ? [before, after] : [after, before];
    const services = [];
    try {
      for (const build of builds) {
        services.push(
          await start(build, database.url, { ...env, CACHE_KEY_PREFIX: `pair-${services.length}` }),
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
}

/** Rate of `two` as a ratio of that of `one`, and its processor time per unit of work. */
async function measureRow(work, one, two) {
  const totals = new Map([one, two].map((service) => [service, { seconds: 0, cpu: 0, units: 0 }]));
  for (const service of [one, two]) await work(service.url, WARM_UP_SECONDS);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const service of round % 2 === 0 ? [one, two] : [two, one]) {
      const [startedMs, cpu] = [performance.now(), processorTicks(service.pid)];
      const rate = await work(service.url, SECONDS);
      const seconds = (performance.now() - startedMs) / 1000;
      const total = totals.get(service);
      total.seconds += seconds;
      total.cpu += processorTicks(service.pid) - cpu;
      total.units += rate * seconds;
    }
  }
  const [first, second] = [totals.get(one), totals.get(two)];
  return {
    rate: second.units / second.seconds / (first.units / first.seconds),
    processor: second.cpu / second.units / (first.cpu / first.units),
  };
}

/** Processor time of the process so far, in clock ticks: fields 14 and 15 of /proc/PID/stat (proc(5)), after the name in brackets. */
function processorTicks(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return Number(user) + Number(system);
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

/** Runnable processes in the mean of the last minute: what else the machine does makes rows unclear. */
function loadText() {
  return loadavg()[0].toFixed(1);
}

/** The name of a working tree: its commit, and whether anything in it is not committed. */
export function workingTreeName(root) {
  const git = (...parameters) =>
    execFileSync('git', parameters, { cwd: root, encoding: 'utf8' }).trim();
  const changes =
    git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with changes';
  return `${git('rev-parse', '--short=10', 'HEAD')}${changes}`;
}

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: COMPARE_OPTIONS,
  });
  const [before, after, ...parts] = positionals;
  if (after === undefined) throw new Error('Two dist folders are compared');
  const names = { before, after };
  return reportComparison({ before, after, names, parts, options });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch((error) => {
    console.error(`${error.message}\n${COMPARE_USAGE}`);
    return 2;
  });
}
