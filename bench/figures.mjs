// Medians, spreads, and what counts as moved. Pure.

/** Runs of a benchmark that was measured only once are taken to be off by as much. */
const NOISE_OF_ONE_RUN = 0.15;
/** What moved by less did not move, however alike the runs were. */
const LEAST_MOVE = 0.05;

/** One run. */
export function measured(ours, reference) {
  return { ours: round(ours, 1), reference: round(reference, 1), ratio: ours / reference };
}

/** The medians of runs, the ratio of each run's own two figures, and the least and greatest of those ratios. */
export function summary(runs, wanted) {
  const ratios = runs.map(({ ratio }) => ratio);
  const ratio = median(ratios);
  return {
    ours: round(median(runs.map((run) => run.ours))),
    reference: round(median(runs.map((run) => run.reference))),
    ratio: round(ratio, 2),
    spread: [round(Math.min(...ratios), 2), round(Math.max(...ratios), 2)],
    wanted: wanted ?? null,
    holds: wanted === undefined ? null : ratio >= wanted,
  };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that so many percent of the values are below or equal to; undefined of none. */
export function percentile(values, percent) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((percent / 100) * sorted.length))];
}

/**
 * What moved between two sets of results by more than its noise: the ratios of its runs then and now do not overlap, and
 * their medians differ by more than LEAST_MOVE. Of each: `change` is the new median in parts of the old one, minus 1.
 */
export function compare(before, now) {
  const old = new Map(before.map((row) => [row.bench, row]));
  const both = now.filter(({ bench }) => old.has(bench));
  const moved = both.flatMap((row) => {
    const previous = old.get(row.bench);
    const change = row.ratio / previous.ratio - 1;
    const [low, high] = rangeOf(row);
    const [oldLow, oldHigh] = rangeOf(previous);
    const isApart = low > oldHigh || high < oldLow;
    if (!isApart || Math.abs(change) <= LEAST_MOVE) return [];
    return [{ bench: row.bench, before: previous.ratio, now: row.ratio, change: round(change, 3) }];
  });
  return {
    compared: both.length,
    moved: moved.sort((a, b) => a.change - b.change),
    added: now.filter(({ bench }) => !old.has(bench)).map(({ bench }) => bench),
    absent: before
      .filter(({ bench }) => !now.some((row) => row.bench === bench))
      .map(({ bench }) => bench),
  };
}

function rangeOf({ ratio, spread, runs }) {
  if (spread && (runs?.length ?? 0) > 1) return spread;
  return [ratio * (1 - NOISE_OF_ONE_RUN), ratio * (1 + NOISE_OF_ONE_RUN)];
}

/** The results as a Markdown table. */
export function tableOf(rows) {
  const cells = [
    ['measured', 'ours', 'reference', 'ratio', 'least..greatest', 'runs', 'wanted'],
    ...rows.map(({ bench, ours, reference, ratio, spread, runs, wanted, holds }) => [
      bench,
      String(ours),
      String(reference),
      String(ratio),
      spread ? spread.join('..') : '',
      String(runs?.length ?? 1),
      wanted === null ? 'reported' : `>= ${wanted}${holds ? '' : ' (missed)'}`,
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const [head, ...body] = cells.map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`,
  );
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [head, rule, ...body].join('\n');
}

function round(value, digits = 0) {
  return Number(value.toFixed(digits));
}
