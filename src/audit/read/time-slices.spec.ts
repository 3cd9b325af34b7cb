import fc from 'fast-check';
import type { TimeSlice } from './count-statement';
import { TimeSlices } from './time-slices';

const DAY = 86_400_000_000;
const NOW = Date.UTC(2026, 10, 30) * 1000;

/** All slices, the newest first; `took` decides what comes of each: its time, or that it was too long. */
function slicesOf(range: TimeSlice, took: () => number | 'too long'): TimeSlice[] {
  const slices = new TimeSlices(range, NOW);
  const found: TimeSlice[] = [];
  for (;;) {
    const time = took();
    if (time === 'too long') {
      slices.narrow();
      continue;
    }
    found.push(slices.current);
    if (!slices.advance(time)) return found;
  }
}

describe('slices of time', () => {
  const bound = fc.option(fc.integer({ min: -4000, max: 0 }), { nil: undefined });
  const range = fc.tuple(bound, bound).map(([from, to]): TimeSlice => ({
    ...(from === undefined ? {} : { from: NOW + from * DAY + 7 }),
    ...(to === undefined ? {} : { to: NOW + to * DAY }),
  }));
  const times = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 0, max: 5000 }) },
      { weight: 1, arbitrary: fc.constant('too long' as const) },
    ),
    { maxLength: 20 },
  );

  it('cover their range without a gap, the newest first', () => {
    fc.assert(
      fc.property(range, times, (asked, took) => {
        const left = [...took];
        const all = slicesOf(asked, () => left.shift() ?? 1);
        expect(all[0]?.to).toBe(asked.to);
        expect(all.at(-1)?.from).toBe(asked.from);
        for (const [index, slice] of all.slice(1).entries()) {
          expect(slice.to).toBe(all[index]?.from);
          expect(slice.from ?? -Infinity).toBeLessThan(slice.to ?? Infinity);
        }
      }),
    );
  });

  it('become longer while they are quick, until one is all that is left', () => {
    const lengths = slicesOf({}, () => 1).map(({ from = -Infinity, to = NOW }) => to - from);
    expect(lengths).toEqual([7 * DAY, 56 * DAY, 448 * DAY, 3584 * DAY, Infinity]);
  });

  it('stay as long after one that took longer', () => {
    const all = slicesOf({ from: NOW - 21 * DAY }, () => 1000);
    expect(all.map(({ from = 0, to = NOW }) => to - from)).toEqual([7 * DAY, 7 * DAY, 7 * DAY]);
  });

  it('begin where all was counted', () => {
    const slices = new TimeSlices({}, NOW);
    slices.narrow();
    expect(slices.countedFrom).toBe(NOW);
    slices.advance(1);
    expect(slices.countedFrom).toBe(NOW - (7 * DAY) / 8);
  });
});
