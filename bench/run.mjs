// npm run bench [-- ingest read … --compare FILE]: measures the service beside references, in one run, or with --compare COMMIT
// beside the build of that commit. See bench/README.md.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cache } from './cache.mjs';
import { resolveCommit, withBuildOf } from './commit-build.mjs';
import { COMPARE_OPTIONS, reportComparison, workingTreeName } from './compare.mjs';
import { chosenRows, comparedRows } from './compare-rows.mjs';
import { stream } from './export.mjs';
import { compare, tableOf } from './figures.mjs';
import { ingest } from './ingest.mjs';
import { metrics } from './metrics.mjs';
import { overload } from './overload.mjs';
import { read } from './read.mjs';
import { allResults, HEADER } from './report.mjs';
import { scale } from './scale.mjs';
import { sealing, search } from './search.mjs';
import { start } from './start.mjs';
import { subscribe } from './subscribe.mjs';
import { openDatabase, root } from './support.mjs';
import { maintenance } from './maintenance.mjs';

const BENCHES = {
  ingest,
  read,
  cache,
  stream,
  overload,
  subscribe,
  scale,
  search,
  sealing,
  start,
  upkeep: maintenance,
  metrics,
};
const LATEST = join(root, 'bench/results/latest.json');
const README = join(root, 'bench/README.md');
const TABLE = /(<!-- table -->\n)[\s\S]*?(\n<!-- end of table -->)/;
const USAGE = `npm run bench -- [${Object.keys(BENCHES).join('|')} …] [--repeat N] [--compare FILE] [--out FILE]
npm run bench -- --compare COMMIT [ROW …] [--pairs N] [--bound R] [--out FILE]`;

const { values: options, positionals: chosen } = readArguments();
if (options.compare !== undefined && !existsSync(options.compare)) {
  process.exit(await compareWithCommit(options.compare).catch(failWithoutUsage));
}
for (const name of ['pairs', 'bound']) {
  if (options[name] !== undefined) fail(`--${name} goes with --compare COMMIT only.`);
}
const unknown = chosen.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  fail(`Unknown: ${unknown.join(', ')}. There are: ${Object.keys(BENCHES).join(', ')}.`);
}
const repeat = Number(options.repeat ?? 1);
if (!Number.isInteger(repeat) || repeat < 1) fail('--repeat takes a number from 1 on.');
const baseline = options.compare === undefined ? undefined : readResults(options.compare);

console.log(HEADER);
for (const name of chosen.length > 0 ? chosen : Object.keys(BENCHES)) {
  for (let time = 0; time < repeat; time += 1) {
    const database = await openDatabase();
    try {
      await BENCHES[name](database.url);
    } finally {
      await database.close();
    }
  }
}
if (baseline) process.exitCode = printMoves(baseline);
else if (allResults().some(({ holds }) => holds === false)) process.exitCode = 1;
if (!baseline || options.out !== undefined) keep(resolve(options.out ?? LATEST));

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        ...COMPARE_OPTIONS,
        compare: { type: 'string' },
        repeat: { type: 'string' },
      },
    });
  } catch (error) {
    return fail(error.message);
  }
}

/** The working tree beside a commit; `chosen` are parts of the names of rows. Resolves to the exit code. */
async function compareWithCommit(commit) {
  const hash = resolveCommit(root, commit).slice(0, 10);
  chosenRows(await comparedRows('with Redis'), chosen); // names are checked before anything is built
  const names = { before: `${commit} (${hash})`, after: workingTreeName(root) };
  const after = join(root, 'dist');
  return withBuildOf(root, commit, (before) =>
    reportComparison({ before, after, names, parts: chosen, options }),
  );
}

function fail(message) {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

function failWithoutUsage({ message }) {
  console.error(message);
  return 2;
}

function readResults(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).results;
  } catch (error) {
    return fail(`--compare ${file}: ${error.message}`);
  }
}

/** Prints what moved by more than its noise; the exit code: 1 when anything became worse. */
function printMoves(before) {
  const { compared, moved, added } = compare(before, allResults());
  console.log(`\nCompared with ${options.compare}: ${compared} benchmarks, ${moved.length} moved.`);
  for (const { bench, before: was, now, change } of moved) {
    const percent = `${change > 0 ? '+' : ''}${Math.round(change * 100)} %`;
    console.log(
      `  ${change < 0 ? 'WORSE ' : 'better'} ${bench.padEnd(58)} ${was} -> ${now} (${percent})`,
    );
  }
  for (const bench of added) console.log(`  new    ${bench}`);
  return moved.some(({ change }) => change < 0) ? 1 : 0;
}

/** Writes the results, beside those of benchmarks that did not run this time; of LATEST also the table in the README. */
function keep(file) {
  const before = existsSync(file) ? readResults(file) : [];
  const now = new Map(allResults().map((row) => [row.bench, { ...row, revision: revision() }]));
  const results = [
    ...before.map((row) => now.get(row.bench) ?? row),
    ...[...now.values()].filter(({ bench }) => !before.some((row) => row.bench === bench)),
  ];
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
  writeFileSync(file, `${JSON.stringify({ machine, results }, null, 2)}\n`);
  if (file !== LATEST) return;
  const readme = readFileSync(README, 'utf8');
  writeFileSync(README, readme.replace(TABLE, `$1\n${tableOf(results)}\n$2`));
}

function revision() {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null; // not a checkout
  }
}
