// What was measured: a ratio of medians for each benchmark, with the runs it comes of.
import { measured, summary } from './figures.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const results = new Map();

export const HEADER = [
  'benchmark'.padEnd(58),
  'ours'.padStart(10),
  'reference'.padStart(10),
  'ratio'.padStart(7),
  'spread'.padStart(12),
  ' wanted',
].join(' ');

/**
 * Runs each of the works once a round, interleaved, so that other load of the machine meets all alike, and each is
 * first in some round. The first round warms up and does not count. By the name of each: its figures.
 */
export async function interleaved(works, rounds = ROUNDS) {
  const names = Object.keys(works);
  const figures = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (let index = 0; index < names.length; index += 1) {
      const name = names[(index + round) % names.length];
      const figure = await works[name]();
      if (round > 0) figures[name].push(figure);
    }
  }
  return figures;
}

/**
 * Notes a ratio, and whether it is at least what was wanted (undefined: it is only reported). `ours` and `reference`
 * are figures, or one of each round; of the same benchmark again (--repeat), the runs are put together.
 */
export function report(bench, ours, reference, wanted) {
  const pairs = [ours].flat().map((value, round) => [value, [reference].flat()[round]]);
  const runs = [...(results.get(bench)?.runs ?? []), ...pairs.map(([o, r]) => measured(o, r))];
  const row = { bench, ...summary(runs, wanted), runs };
  results.set(bench, row);
  console.log(line(row));
}

function line({ bench, ours, reference, ratio, spread, wanted, holds }) {
  const verdict = wanted === null ? '' : `>= ${wanted} ${holds ? 'holds' : 'FAILS'}`;
  return [
    bench.padEnd(58),
    String(ours).padStart(10),
    String(reference).padStart(10),
    String(ratio).padStart(7),
    spread.join('..').padStart(12),
    ` ${verdict}`,
  ].join(' ');
}

export function allResults() {
  return [...results.values()];
}
