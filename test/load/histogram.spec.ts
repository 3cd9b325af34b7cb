import fc from 'fast-check';
import { Histogram } from '../../scripts/load/histogram.mjs';

const times = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), {
  minLength: 1,
  maxLength: 300,
});
const percents = fc.double({ min: 0, max: 100, noNaN: true });

function histogramOf(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.add(value);
  return histogram;
}

/** The least value that so many percent of the values do not exceed. */
function exact(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1] ?? NaN;
}

describe('the histogram of response times', () => {
  it('has percentiles within 1 % of those of the sorted values', () => {
    fc.assert(
      fc.property(times, percents, (values, percent) => {
        const ratio = (histogramOf(values).percentile(percent) ?? NaN) / exact(values, percent);
        expect(Math.abs(ratio - 1)).toBeLessThan(0.0101);
      }),
    );
  });

  it('of two parts merged is that of the whole', () => {
    fc.assert(
      fc.property(times, times, percents, (one, two, percent) => {
        const merged = histogramOf(one);
        merged.merge(histogramOf(two));
        const whole = histogramOf([...one, ...two]);
        expect(merged.percentile(percent)).toBe(whole.percentile(percent));
        expect([merged.count, merged.max]).toEqual([whole.count, whole.max]);
      }),
    );
  });

  it('keeps the greatest value exactly, and no percentile is above it', () => {
    const histogram = histogramOf([1, 2, 1234.5]);
    expect([histogram.max, histogram.percentile(100)]).toEqual([1234.5, 1234.5]);
  });

  it('of nothing has no percentile, and takes values below a microsecond', () => {
    expect(new Histogram().percentile(50)).toBeUndefined();
    expect(histogramOf([0, 0]).percentile(99)).toBe(0);
  });
});
