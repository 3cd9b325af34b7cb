// node bench/fault.mjs [RUNS]: whether the comparison of two builds finds a fault, and only that. A build whose pages take a fifth more
// processor time must be named as worse, and RUNS (3) comparisons of a build with a copy of it must name nothing. Exits 1 otherwise.
import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareBuilds } from './compare.mjs';
import { movesOf } from './compare-report.mjs';
import { root } from './support.mjs';

const FAULTY_ROW = 'page of 50, uncached';
const OTHER_ROWS = ['single writes, 64 clients', 'in process, 64 clients'];
/** Appended to the module with the query: each page burns a fifth of what the pages before it took. */
const FAULT = `
{
  const { findPage } = exports.AuditQueries.prototype;
  const usedMicros = () => { const { user, system } = process.cpuUsage(); return user + system; };
  let [pages, sinceMicros, burntMicros, shareMicros] = [0, usedMicros(), 0, 0];
  exports.AuditQueries.prototype.findPage = function (...parameters) {
    const startMicros = usedMicros();
    while (usedMicros() - startMicros < shareMicros);
    burntMicros += usedMicros() - startMicros;
    pages += 1;
    if (pages % 50 === 0) {
      shareMicros = (0.2 * (usedMicros() - sinceMicros - burntMicros)) / 50;
      [sinceMicros, burntMicros] = [usedMicros(), 0];
    }
    return findPage.apply(this, parameters);
  };
}
`;

const runs = Number(process.argv[2] ?? 3);
const folder = mkdtempSync(join(tmpdir(), 'audit-fault-'));
try {
  const [before, same, faulty] = ['before', 'same', 'faulty'].map(copyOfBuild);
  appendFileSync(join(faulty, 'audit/read/audit.queries.js'), FAULT);
  let isRight = true;
  const say = (holds, text, rows) => {
    isRight &&= holds;
    console.log(`${holds ? 'HOLDS' : 'FAILS'}: ${text}: ${movesOf(rows).join('; ')}\n`);
  };
  for (let run = 1; run <= runs; run += 1) {
    const rows = await compareBuilds({ before, after: same, parts: [FAULTY_ROW, ...OTHER_ROWS] });
    const isStill = rows.every(({ change }) => change === '');
    say(isStill, `run ${run} without a change names nothing`, rows);
  }
  const rows = await compareBuilds({ before, after: faulty, parts: [FAULTY_ROW, ...OTHER_ROWS] });
  const named = rows.filter(({ isWorse }) => isWorse).map(({ name }) => name);
  say(named.join() === FAULTY_ROW, 'a fifth more processor time is named, and no other row', rows);
  process.exitCode = isRight ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** A copy of the build, beside what it reads. */
function copyOfBuild(name) {
  for (const part of ['dist', 'config', 'package.json']) {
    cpSync(join(root, part), join(folder, name, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, name, 'node_modules'), 'junction');
  return join(folder, name, 'dist');
}
