import fc from 'fast-check';
import { AimdLimit } from './connection-limiter';

const times = <T>(count: number, work: () => T): T[] => Array.from({ length: count }, work);

describe('AimdLimit', () => {
  it('is the maximum while the event loop has time', () => {
    const limit = new AimdLimit(10);
    expect(times(5, () => limit.next(0.3))).toEqual([10, 10, 10, 10, 10]);
  });

  it('is halved while the loop is busy, but never below two', () => {
    const limit = new AimdLimit(10);
    expect(times(4, () => limit.next(0.97))).toEqual([5, 2, 2, 2]);
  });

  it('rises by one at a time, and is constant in between', () => {
    const limit = new AimdLimit(5);
    times(3, () => limit.next(1));
    expect([0.8, 0.5, 0.85, 0.1, 0.1, 0.1].map((busy) => limit.next(busy))).toEqual([
      2, 3, 3, 4, 5, 5,
    ]);
  });

  it('is never above the maximum, nor below the minimum', () => {
    const utilization = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(utilization), (max, samples) => {
        const limit = new AimdLimit(max);
        for (const busy of samples) {
          const next = limit.next(busy);
          expect(next).toBeLessThanOrEqual(max);
          expect(next).toBeGreaterThanOrEqual(Math.min(2, max));
        }
      }),
    );
  });
});
