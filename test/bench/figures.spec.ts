import fc from 'fast-check';
import {
  compare,
  measured,
  median,
  percentile,
  type Row,
  summary,
  tableOf,
} from '../../bench/figures.mjs';

/** A benchmark with the ratios of its runs. */
function row(bench: string, ratios: number[], wanted?: number): Row {
  const runs = ratios.map((ratio) => measured(1000 * ratio, 1000));
  return { bench, ...summary(runs, wanted), runs };
}

describe('the figures of benchmarks', () => {
  it('are the medians of runs, each ratio being that of its own run', () => {
    const runs = [measured(100, 200), measured(300, 100), measured(150, 150)];
    expect(summary(runs, 0.9)).toEqual({
      ours: 150,
      reference: 150,
      ratio: 1,
      spread: [0.5, 3],
      wanted: 0.9,
      holds: true,
    });
    expect(summary([measured(89, 100)], 0.9)).toMatchObject({ ratio: 0.89, holds: false });
    expect(summary([measured(1, 2)])).toMatchObject({ wanted: null, holds: null });
  });

  it('hold a median that lies between the least and the greatest, whatever their order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 20 }), (values) => {
        const middle = median(values);
        expect(values.filter((value) => value < middle).length).toBeLessThanOrEqual(
          values.length / 2,
        );
        expect(values.filter((value) => value > middle).length).toBeLessThanOrEqual(
          values.length / 2,
        );
        expect(median([...values].reverse())).toBe(middle);
      }),
    );
  });

  it('hold percentiles by number and not by spelling, whatever their order', () => {
    const values = Array.from({ length: 200 }, (_, index) => 200 - index);
    expect([0, 50, 95, 100].map((percent) => percentile(values, percent))).toEqual([
      1, 101, 191, 200,
    ]);
    expect(percentile([7], 99)).toBe(7);
    expect(percentile([], 50)).toBeUndefined();
  });

  it('have moved when their runs lie apart, and say by how much, the worst first', () => {
    const before = [row('a', [2, 2.1, 2.2]), row('b', [1, 1.1, 1.2]), row('c', [3, 3.1, 3.2])];
    const now = [row('a', [2.4, 2.5, 2.6]), row('b', [0.5, 0.55, 0.6]), row('c', [3.1, 3, 3.3])];
    expect(compare(before, now)).toEqual({
      compared: 3,
      moved: [
        { bench: 'b', before: 1.1, now: 0.55, change: -0.5 },
        { bench: 'a', before: 2.1, now: 2.5, change: 0.19 },
      ],
      added: [],
      absent: [],
    });
  });

  it('have not moved while their runs overlap, however far the medians', () => {
    expect(compare([row('a', [1, 2, 4])], [row('a', [3.9, 5, 6])]).moved).toEqual([]);
  });

  it('have not moved by a few percent, however steady the runs', () => {
    expect(compare([row('a', [1, 1, 1])], [row('a', [1.04, 1.04, 1.04])]).moved).toEqual([]);
    expect(compare([row('a', [1, 1, 1])], [row('a', [1.06, 1.06, 1.06])]).moved).toHaveLength(1);
  });

  it('of a single run are taken to be off by 15 percent', () => {
    expect(compare([row('a', [1])], [row('a', [1.3])]).moved).toEqual([]);
    expect(compare([row('a', [1])], [row('a', [1.4])]).moved).toHaveLength(1);
    const old: Row = { bench: 'a', ours: 1, reference: 1, ratio: 1, wanted: null, holds: null };
    expect(compare([old], [row('a', [0.8])]).moved).toEqual([]);
    expect(compare([old], [row('a', [0.7])]).moved).toHaveLength(1);
  });

  it('never move against themselves', () => {
    const ratios = fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), {
      minLength: 1,
      maxLength: 9,
    });
    fc.assert(
      fc.property(ratios, (list) => {
        const rows = [row('a', list)];
        expect(compare(rows, rows).moved).toEqual([]);
      }),
    );
  });

  it('name new figures and figures not measured this time', () => {
    const { compared, added, absent } = compare(
      [row('a', [1]), row('b', [1])],
      [row('b', [1]), row('c', [1])],
    );
    expect({ compared, added, absent }).toEqual({ compared: 1, added: ['c'], absent: ['a'] });
  });

  it('make a table with columns of one width, and name missed targets', () => {
    const table = tableOf([row('first', [1, 2, 3], 1), row('second one', [0.5], 1), row('x', [1])]);
    expect(table.split('\n')).toEqual([
      '| measured   | ours | reference | ratio | least..greatest | runs | wanted        |',
      '| ---------- | ---- | --------- | ----- | --------------- | ---- | ------------- |',
      '| first      | 2000 | 1000      | 2     | 1..3            | 3    | >= 1          |',
      '| second one | 500  | 1000      | 0.5   | 0.5..0.5        | 1    | >= 1 (missed) |',
      '| x          | 1000 | 1000      | 1     | 1..1            | 1    | reported      |',
    ]);
  });
});
