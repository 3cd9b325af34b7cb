import fc from 'fast-check';
import {
  calendarRange,
  coveredRanges,
  firstGap,
  freeRange,
  type TimeRange,
} from './partition-ranges';

const DAY_MS = 86_400_000;
const startOf = (year: number, month = 0) => new Date(0).setUTCFullYear(year, month, 1);
const [FIRST_MS, END_MS] = [startOf(1), startOf(2150)];
const iso = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const rangeAt = (instant: string, now: string, retentionDays = 0) => {
  const { lowerMs, upperMs } = calendarRange(Date.parse(instant), Date.parse(now), retentionDays);
  return [iso(lowerMs), iso(upperMs)];
};

const instant = fc.integer({ min: FIRST_MS, max: END_MS - 1 });
/** The years in which this service may run. */
const now = fc.integer({ min: startOf(2024), max: startOf(2120) });
const retention = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 36_500 }));

/** Partitions that do not overlap, adjacent or not, with or without outer bounds. */
const partitions = fc
  .uniqueArray(fc.integer({ min: FIRST_MS, max: END_MS }), { minLength: 2, maxLength: 40 })
  .chain((bounds) => {
    const sorted = bounds.sort((a, b) => a - b);
    return fc.tuple(
      fc.constant(sorted),
      fc.array(fc.boolean(), { minLength: sorted.length, maxLength: sorted.length }),
      fc.boolean(),
      fc.boolean(),
    );
  })
  .map(([bounds, kept, isOpenBelow, isOpenAbove]) => {
    const all = bounds.slice(1).map((upperMs, index) => ({
      lowerMs: index === 0 && isOpenBelow ? null : (bounds[index] ?? 0),
      upperMs: index === bounds.length - 2 && isOpenAbove ? null : upperMs,
    }));
    return all.filter((_, index) => kept[index]);
  });

describe('the range of a partition', () => {
  it.each([
    ['2026-11-29T12:00:00Z', '2026-11-01', '2026-12-01'],
    ['2024-01-31T23:59:59Z', '2024-01-01', '2024-02-01'],
    ['2023-12-31T23:59:59Z', '2023-01-01', '2024-01-01'],
    ['2010-01-01T00:00:00Z', '2010-01-01', '2011-01-01'],
    ['2009-12-31T00:00:00Z', '2000-01-01', '2010-01-01'],
    ['1970-01-01T00:00:00Z', '1970-01-01', '1980-01-01'],
    ['1960-01-01T00:00:00Z', '1960-01-01', '1970-01-01'],
    ['1959-12-31T00:00:00Z', '0001-01-01', '1960-01-01'],
    ['0001-01-01T00:00:00Z', '0001-01-01', '1960-01-01'],
    ['2027-02-28T00:00:00Z', '2027-02-01', '2027-03-01'],
  ])('of %s, in November 2026, is %s to %s', (at, lower, upper) => {
    expect(rangeAt(at, '2026-11-29T00:00:00Z')).toEqual([lower, upper]);
  });

  it.each([
    ['2026-11-01T00:00:00Z', '2026-11-01', '2026-12-01'],
    ['2023-05-01T00:00:00Z', '2023-01-01', '2024-01-01'],
    ['2020-01-01T00:00:00Z', '2020-01-01', '2021-01-01'],
    ['2019-12-15T00:00:00Z', '2019-12-01', '2020-01-01'],
    ['2019-11-30T00:00:00Z', '0001-01-01', '2019-12-01'],
    ['0900-01-01T00:00:00Z', '0001-01-01', '2019-12-01'],
  ])(
    'of %s, in November 2026 and with seven years of retention, is %s to %s',
    (at, lower, upper) => {
      expect(rangeAt(at, '2026-11-29T00:00:00Z', 2555)).toEqual([lower, upper]);
    },
  );

  it('contains its instant and begins and ends with months', () => {
    fc.assert(
      fc.property(instant, now, retention, (instantMs, nowMs, days) => {
        const { lowerMs, upperMs } = calendarRange(instantMs, nowMs, days);
        expect(lowerMs <= instantMs && instantMs < upperMs).toBe(true);
        for (const ms of [lowerMs, upperMs]) expect(iso(ms)).toMatch(/-01$/);
      }),
    );
  });

  it('is the same for every instant in it, so that ranges made at the same time never overlap', () => {
    fc.assert(
      fc.property(instant, instant, now, retention, (one, other, nowMs, days) => {
        const range = calendarRange(one, nowMs, days);
        const isInside = range.lowerMs <= other && other < range.upperMs;
        const second = calendarRange(other, nowMs, days);
        if (isInside) expect(second).toEqual(range);
        else expect(second.upperMs <= range.lowerMs || range.upperMs <= second.lowerMs).toBe(true);
      }),
    );
  });

  it('with a retention never spans its edge, nor more than a year that is retained', () => {
    fc.assert(
      fc.property(instant, now, retention, (instantMs, nowMs, days) => {
        fc.pre(days > 0);
        const { lowerMs, upperMs } = calendarRange(instantMs, nowMs, days);
        const edgeMs = nowMs - days * DAY_MS;
        if (instantMs < edgeMs - 31 * DAY_MS) expect(upperMs).toBeLessThanOrEqual(edgeMs);
        if (upperMs > edgeMs) expect(upperMs - lowerMs).toBeLessThanOrEqual(366 * DAY_MS);
      }),
    );
  });

  it('is one of 56 before now, for any instant', () => {
    fc.assert(
      fc.property(now, (nowMs) => {
        const ranges = new Set<number>();
        let atMs = FIRST_MS;
        while (atMs <= nowMs) {
          const { lowerMs, upperMs } = calendarRange(atMs, nowMs, 0);
          expect(lowerMs).toBe(atMs);
          ranges.add(lowerMs);
          atMs = upperMs;
        }
        expect(ranges.size).toBeLessThanOrEqual(56);
      }),
    );
  });
});

describe('the free range around an instant', () => {
  const free = fc
    .tuple(partitions, instant, now, retention)
    .filter(([all, instantMs]) => !covers(all, instantMs));

  it('contains the instant, overlaps no partition, and is as long as possible', () => {
    fc.assert(
      fc.property(free, ([all, instantMs, nowMs, days]) => {
        const wanted = calendarRange(instantMs, nowMs, days);
        const { lowerMs, upperMs } = freeRange(wanted, instantMs, all);
        expect(lowerMs <= instantMs && instantMs < upperMs).toBe(true);
        for (const one of all) {
          const isApart =
            (one.upperMs ?? Infinity) <= lowerMs || upperMs <= (one.lowerMs ?? -Infinity);
          expect(isApart).toBe(true);
        }
        expect(lowerMs === wanted.lowerMs || covers(all, lowerMs - 1)).toBe(true);
        expect(upperMs === wanted.upperMs || covers(all, upperMs)).toBe(true);
      }),
    );
  });

  it('adds no more partitions than ranges and gaps, in any order of instants, over years', () => {
    const instants = fc.array(instant, { minLength: 1, maxLength: 200 });
    const times = fc.array(fc.integer({ min: 0, max: 2000 * DAY_MS }), { maxLength: 5 });
    fc.assert(
      fc.property(
        partitions,
        instants,
        now,
        times,
        retention,
        (all, wanted, nowMs, later, days) => {
          const made: TimeRange[] = [];
          for (const atMs of [nowMs, ...later.map((ms) => nowMs + ms)]) {
            for (const instantMs of wanted.filter((ms) => ms <= atMs)) {
              if (covers([...all, ...made], instantMs)) continue;
              const range = calendarRange(instantMs, atMs, days);
              made.push(freeRange(range, instantMs, [...all, ...made]));
            }
          }
          const sorted = made.sort((a, b) => a.lowerMs - b.lowerMs);
          sorted.slice(1).forEach((range, index) => {
            expect(range.lowerMs).toBeGreaterThanOrEqual(sorted[index]?.upperMs ?? 0);
          });
          // 36 months, a year for each year of retention or 14, 5 decades, what is older; a month for each that went by,
          // and a year, decade or edge more than once where ranges moved with the time; and what existing ones cut.
          const moved = later.length * 40;
          const years = Math.max(14 + 5, Math.ceil(days / 365) + 1);
          expect(made.length).toBeLessThanOrEqual(36 + years + 1 + all.length + moved);
        },
      ),
    );
  });
});

describe('the ranges that partitions cover', () => {
  it('have no gap at an instant that a partition contains, and the first gap is where none does', () => {
    fc.assert(
      fc.property(partitions, instant, fc.integer({ min: 1, max: 400 }), (all, from, days) => {
        const range = { lowerMs: from, upperMs: from + days * DAY_MS };
        const gapMs = firstGap(coveredRanges(all), range);
        if (gapMs === undefined) {
          for (const edge of [range.lowerMs, range.upperMs - 1, ...edgesIn(all, range)]) {
            expect(covers(all, edge)).toBe(true);
          }
        } else {
          expect(covers(all, gapMs)).toBe(false);
          const before = edgesIn(all, { lowerMs: from, upperMs: gapMs });
          for (const edge of before) expect(covers(all, edge)).toBe(true);
        }
      }),
    );
  });
});

type Bounds = { lowerMs: number | null; upperMs: number | null };

function covers(all: readonly Bounds[], ms: number): boolean {
  return all.some(
    ({ lowerMs, upperMs }) => (lowerMs ?? -Infinity) <= ms && ms < (upperMs ?? Infinity),
  );
}

function edgesIn(all: readonly Bounds[], { lowerMs, upperMs }: TimeRange): number[] {
  return all
    .flatMap((one) => [one.lowerMs ?? -Infinity, one.upperMs ?? Infinity])
    .filter((ms) => lowerMs <= ms && ms < upperMs);
}
