// What moved between two builds, in words. Pure.
import { meanRatio } from './student.mjs';

/** A smaller move is not named, however sure it is. */
const LEAST_MOVE = 0.05;

/**
 * The row as it compares: `rate` and `processor` (time for a unit of work) with their intervals, the new build in parts of the
 * old one, and what changed: SLOWER, COSTLIER (as fast, at more processor time), better, or '' for noise. A move is one whose
 * 99.9 % interval excludes 1, by more than LEAST_MOVE in the mean.
 */
export function comparedRow(name, ratios) {
  const [rate, processor] = [meanRatio(ratios.rate), meanRatio(ratios.processor)];
  const moved = ({ mean, differs }) => differs && Math.abs(mean - 1) > LEAST_MOVE;
  const isSlower = moved(rate) && rate.mean < 1;
  const isCostlier = moved(processor) && processor.mean > 1;
  const isBetter = moved(rate) || moved(processor);
  const change = isSlower ? 'SLOWER' : isCostlier ? 'COSTLIER' : isBetter ? 'better' : '';
  return {
    name,
    change,
    isWorse: isSlower || isCostlier,
    rate,
    processor,
    pairs: ratios.rate.length,
  };
}

/** Whether the row is surely (99.9 %) below `bound` of the old rate, or above 1 / `bound` of its processor time. */
export function isBeyond({ rate, processor }, bound) {
  return rate.high < bound || processor.low > 1 / bound;
}

/** The row in one line of a terminal. */
export function lineOf({ name, change, rate, processor, pairs }) {
  const figures = `rate ${interval(rate).padEnd(20)} processor ${interval(processor).padEnd(20)}`;
  return `${name.padEnd(42)} ${figures} ${String(pairs).padStart(2)} pairs ${change}`.trimEnd();
}

/** One sentence for each row that moved, the worse ones first; one that says so, if none did. */
export function movesOf(rows) {
  const moved = rows.filter(({ change }) => change !== '');
  if (moved.length === 0) return [`Nothing moved beyond noise in ${rows.length} rows.`];
  return moved
    .sort((a, b) => Number(b.isWorse) - Number(a.isWorse) || a.rate.mean - b.rate.mean)
    .map(({ name, change, rate, processor }) => {
      return `${change} ${name}: rate ${percent(rate.mean)}, processor time ${percent(processor.mean)}`;
    });
}

/** The comparison as a Markdown document. */
export function markdownOf({ before, after, load, rows }) {
  return [
    `# ${after} compared with ${before}`,
    '',
    `Ratios to ${before}, with their 99.9 % intervals; load of the machine before and after: ${load.join(', ')}.`,
    '',
    ...movesOf(rows).map((text) => `- ${text}`),
    '',
    '| row | rate | processor time | pairs | |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => {
      return `| ${row.name} | ${interval(row.rate)} | ${interval(row.processor)} | ${row.pairs} | ${row.change} |`;
    }),
    '',
  ].join('\n');
}

function interval({ mean, low, high }) {
  const most = high < 100 ? high.toFixed(2) : 'unknown';
  return `${mean.toFixed(3)} (${low.toFixed(2)}..${most})`;
}

function percent(mean) {
  const change = Math.round((mean - 1) * 100);
  return `${change > 0 ? '+' : ''}${change} %`;
}
