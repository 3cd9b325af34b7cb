import { comparedRow, isBeyond, lineOf, markdownOf, movesOf } from '../../bench/compare-report.mjs';

const STEADY = [0.99, 1.01, 1, 0.99, 1.01, 1];
const times = (factor: number) => STEADY.map((ratio) => ratio * factor);
const rowOf = (name: string, rate: number, processor: number) =>
  comparedRow(name, { rate: times(rate), processor: times(processor) });

describe('the comparison of two builds', () => {
  it.each([
    ['SLOWER', 0.8, 1.25, true],
    ['SLOWER', 0.8, 1, true],
    ['COSTLIER', 1, 1.2, true],
    ['better', 1.2, 1, false],
    ['better', 1, 0.8, false],
    ['', 1, 1, false],
    ['', 0.97, 1.03, false],
  ])('calls a row %j of rate %d and processor time %d', (change, rate, processor, isWorse) => {
    expect(rowOf('a', rate, processor)).toMatchObject({ change, isWorse, pairs: 6 });
  });

  it('does not name a row whose pairs contradict each other, however far its mean', () => {
    const { change } = comparedRow('a', { rate: [0.5, 1.2, 0.6, 1.1], processor: [1, 1, 1, 1] });
    expect(change).toBe('');
  });

  it('is beyond a bound only if the whole interval is', () => {
    expect(isBeyond(rowOf('a', 0.6, 1), 0.8)).toBe(true);
    expect(isBeyond(rowOf('a', 1, 1.6), 0.8)).toBe(true);
    expect(isBeyond(rowOf('a', 0.79, 1.26), 0.8)).toBe(false);
    expect(isBeyond(rowOf('a', 1.5, 0.5), 0.8)).toBe(false);
    const unsure = comparedRow('a', { rate: [0.4, 0.8, 0.5], processor: [1, 1, 1] });
    expect(isBeyond(unsure, 0.8)).toBe(false);
  });

  it('names what moved, the worst first, or says that nothing did', () => {
    const rows = [rowOf('still', 1, 1), rowOf('faster', 1.5, 0.7), rowOf('slow', 0.8, 1.25)];
    expect(movesOf(rows)).toEqual([
      'SLOWER slow: rate -20 %, processor time +25 %',
      'better faster: rate +50 %, processor time -30 %',
    ]);
    expect(movesOf(rows.slice(0, 1))).toEqual(['Nothing moved beyond noise in 1 rows.']);
  });

  it('is written as lines and as Markdown', () => {
    const row = rowOf('slow', 0.8, 1);
    expect(lineOf(row)).toMatch(
      /^slow +rate 0\.800 \(0\.78\.\.0\.82\) +processor 1\.000 \(0\.98\.\.1\.03\) +6 pairs SLOWER$/,
    );
    const unsure = comparedRow('few pairs', { rate: [0.5, 2], processor: [1, 1] });
    expect(lineOf(unsure)).toContain('(0.00..unknown)');
    const text = markdownOf({ before: 'HEAD^', after: 'HEAD', load: ['0.1', '2.0'], rows: [row] });
    expect(text).toContain('- SLOWER slow: rate -20 %');
    expect(text).toContain('| slow | 0.800 (0.78..0.82) | 1.000 (0.98..1.03) | 6 | SLOWER |');
  });
});
