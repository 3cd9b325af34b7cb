import fc from 'fast-check';
import { CacheStatistics, type CacheOutcome } from './cache-statistics';

class ClockedStatistics extends CacheStatistics {
  seconds = 0;

  protected override nowSeconds(): number {
    return this.seconds;
  }
}

function record(
  statistics: CacheStatistics,
  outcome: CacheOutcome,
  times: number,
  namespace = 'pages',
): void {
  for (let count = 0; count < times; count += 1) statistics.record(namespace, outcome);
}

describe('CacheStatistics', () => {
  it('starts at zero', () => {
    const statistics = new CacheStatistics();
    expect(statistics.totals()).toEqual({
      hitRatio: 0,
      totalRequests: 0,
      totalHits: 0,
      totalMisses: 0,
      excludedRequests: 0,
    });
    expect(statistics.byNamespace()).toEqual({});
    expect(statistics.window()).toEqual({ seconds: 300, requests: 0, hitRatio: undefined });
  });

  it('counts hits and misses as requests, and excluded ones separately', () => {
    const statistics = new CacheStatistics();
    record(statistics, 'hit', 2);
    record(statistics, 'miss', 1);
    record(statistics, 'excluded', 5);
    expect(statistics.totals()).toEqual({
      hitRatio: 66.67,
      totalRequests: 3,
      totalHits: 2,
      totalMisses: 1,
      excludedRequests: 5,
    });
    expect(statistics.window()).toEqual({ seconds: 300, requests: 3, hitRatio: 66.67 });
  });

  it('has no ratio when all requests were excluded', () => {
    const statistics = new CacheStatistics();
    record(statistics, 'excluded', 3);
    expect(statistics.totals()).toMatchObject({ hitRatio: 0, totalRequests: 0 });
    expect(statistics.window().hitRatio).toBeUndefined();
  });

  it('separates namespaces of any name', () => {
    const statistics = new CacheStatistics();
    record(statistics, 'hit', 1, 'pages');
    record(statistics, 'miss', 3, '__proto__');
    const byNamespace = new Map(Object.entries(statistics.byNamespace()));
    expect([...byNamespace.keys()]).toEqual(['pages', '__proto__']);
    expect(byNamespace.get('pages')).toMatchObject({ hitRatio: 100, totalRequests: 1 });
    expect(byNamespace.get('__proto__')).toMatchObject({ hitRatio: 0, totalMisses: 3 });
    expect(statistics.totals()).toMatchObject({ hitRatio: 25, totalRequests: 4 });
  });

  it('drops counts after five minutes from its window, and not from its totals', () => {
    const statistics = new ClockedStatistics();
    record(statistics, 'hit', 3);
    statistics.seconds = 200;
    record(statistics, 'miss', 1);
    expect(statistics.window()).toMatchObject({ requests: 4, hitRatio: 75 });
    statistics.seconds = 300;
    expect(statistics.window()).toMatchObject({ requests: 1, hitRatio: 0 });
    statistics.seconds = 100_000;
    expect(statistics.window()).toMatchObject({ requests: 0, hitRatio: undefined });
    expect(statistics.totals()).toMatchObject({ totalRequests: 4 });
  });

  it('counts in its window what a list of all moments has in the slots of the last five minutes', () => {
    const step = fc.record({
      pause: fc.oneof(fc.nat({ max: 15 }), fc.nat({ max: 1000 })),
      outcome: fc.constantFrom<CacheOutcome>('hit', 'miss', 'excluded'),
    });
    fc.assert(
      fc.property(
        fc.nat({ max: 10_000 }),
        fc.array(step, { maxLength: 60, size: 'max' }),
        (start, steps) => {
          const statistics = new ClockedStatistics();
          const moments: { seconds: number; outcome: CacheOutcome }[] = [];
          statistics.seconds = start;
          for (const { pause, outcome } of steps) {
            statistics.seconds += pause;
            statistics.record('pages', outcome);
            moments.push({ seconds: statistics.seconds, outcome });
            const end = (Math.floor(statistics.seconds / 10) + 1) * 10;
            const recent = moments.filter((moment) => moment.seconds >= end - 300);
            const requests = recent.filter((moment) => moment.outcome !== 'excluded').length;
            expect(statistics.window().requests).toBe(requests);
          }
        },
      ),
    );
  });

  it('uses a monotonic clock', () => {
    const now = jest.spyOn(Date, 'now');
    try {
      const statistics = new CacheStatistics();
      record(statistics, 'hit', 1);
      now.mockReturnValue(0);
      expect(statistics.window().requests).toBe(1);
      expect(now).not.toHaveBeenCalled();
    } finally {
      now.mockRestore();
    }
  });
});
