import fc from 'fast-check';
import { growthLimit, MAX_RANGES, mergedRanges } from './seal-plan';

/** Seals growths one after the other; how often an event was written, and the most ranges there were. */
function sealAll(growths: readonly number[]): { written: number; most: number; sizes: number[] } {
  const sizes: number[] = [];
  let [written, most] = [0, 0];
  for (const growth of growths) {
    const merged = mergedRanges(sizes, growth);
    const parts = merged === 0 ? [] : sizes.splice(-merged);
    const size = parts.reduce((sum, part) => sum + part, growth);
    sizes.push(size);
    written += size;
    most = Math.max(most, sizes.length);
  }
  return { written: written / growths.reduce((sum, one) => sum + one, 0), most, sizes };
}

describe('ranges of a partition that grows', () => {
  it('are few, and hold everything', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 200 }),
        (growths) => {
          const { most, sizes } = sealAll(growths);
          expect(most).toBeLessThanOrEqual(MAX_RANGES);
          const sum = (all: readonly number[]) => all.reduce((total, one) => total + one, 0);
          expect(sum(sizes)).toBe(sum(growths));
        },
      ),
    );
  });

  it.each([
    [10, 1.7],
    [40, 3.2],
    [150, 6.8],
  ])('of %i growths have each event written %f times', (count, times) => {
    const { written } = sealAll(Array.from({ length: count }, () => 1));
    expect(Number(written.toFixed(1))).toBe(times);
  });

  it('grow with their partition', () => {
    expect(growthLimit(50_000, 1_000_000)).toBe(50_000);
    expect(growthLimit(50_000, 100_000_000)).toBe(2_500_000);
    const growths: number[] = [];
    for (let rows = 0; rows < 100_000_000;) {
      const growth = growthLimit(50_000, rows);
      growths.push(growth);
      rows += growth;
    }
    expect([growths.length, Number(sealAll(growths).written.toFixed(1))]).toEqual([199, 4.6]);
  });
});
