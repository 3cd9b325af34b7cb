// npm run bench [-- ingest read cache overload upkeep stream metrics]: measures the service beside references, in one run. See bench/README.md.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cache } from './cache.mjs';
import { stream } from './export.mjs';
import { ingest } from './ingest.mjs';
import { metrics } from './metrics.mjs';
import { overload } from './overload.mjs';
import { read } from './read.mjs';
import { allResults, openDatabase, root } from './support.mjs';
import { upkeep } from './upkeep.mjs';

const BENCHES = { ingest, read, cache, overload, upkeep, stream, metrics };
const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}. There are: ${Object.keys(BENCHES).join(', ')}.`);
  process.exit(2);
}
console.log(
  `${'benchmark'.padEnd(58)} ${'ours'.padStart(10)} ${'reference'.padStart(10)} ${'ratio'.padStart(7)}  wanted`,
);
for (const name of chosen.length > 0 ? chosen : Object.keys(BENCHES)) {
  const database = await openDatabase();
  try {
    await BENCHES[name](database.url);
  } finally {
    await database.close();
  }
}
const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
const file = join(root, 'bench/results.json');
const before = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).results : [];
const measured = new Set(allResults().map(({ bench }) => bench));
const results = [...before.filter(({ bench }) => !measured.has(bench)), ...allResults()];
writeFileSync(file, `${JSON.stringify({ machine, results }, null, 2)}\n`);
process.exit(allResults().some(({ holds }) => holds === false) ? 1 : 0);
