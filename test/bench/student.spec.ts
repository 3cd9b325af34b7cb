import fc from 'fast-check';
import { meanRatio } from '../../bench/student.mjs';

const ratio = fc.double({ min: 0.5, max: 2, noNaN: true });
const ratios = fc.array(ratio, { minLength: 2, maxLength: 30 });

/** Numbers of a normal distribution from a seed (Box-Muller over mulberry32). */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 1) / (2 ** 32 + 1);
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

describe('the mean of ratios', () => {
  it('is geometric: twice and half cancel out', () => {
    expect(meanRatio([2, 0.5]).mean).toBeCloseTo(1, 12);
    expect(meanRatio([1, 4]).mean).toBeCloseTo(2, 12);
  });

  it('has the interval of a table of the t-distribution', () => {
    // Logarithms 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3), and 31.599 for two degrees of freedom.
    const { mean, low, high, differs } = meanRatio([0.1, 0.2, 0.3].map(Math.exp));
    expect(Math.log(mean)).toBeCloseTo(0.2, 12);
    expect(Math.log(low)).toBeCloseTo(0.2 - (31.599 * 0.1) / Math.sqrt(3), 9);
    expect(Math.log(high)).toBeCloseTo(0.2 + (31.599 * 0.1) / Math.sqrt(3), 9);
    expect(differs).toBe(false);
  });

  it('is unknown from one ratio, however far it is from 1', () => {
    expect(meanRatio([0.1])).toMatchObject({ low: 0, high: Infinity, differs: false });
  });

  it('lies within its interval, and differs where that excludes 1', () => {
    fc.assert(
      fc.property(ratios, (list) => {
        const { mean, low, high, differs } = meanRatio(list);
        expect(low).toBeLessThanOrEqual(mean * (1 + 1e-9));
        expect(high).toBeGreaterThanOrEqual(mean * (1 - 1e-9));
        expect(differs).toBe(low > 1 || high < 1);
      }),
    );
  });

  it('of the builds exchanged is the inverse, and so is its interval', () => {
    fc.assert(
      fc.property(ratios, (list) => {
        const [forth, back] = [meanRatio(list), meanRatio(list.map((value) => 1 / value))];
        expect(Math.log(back.mean)).toBeCloseTo(-Math.log(forth.mean), 9);
        expect(Math.log(back.low)).toBeCloseTo(-Math.log(forth.high), 9);
      }),
    );
  });

  it('of noise around 1 differs in one of a thousand, and of a fifth less in nearly all', () => {
    const next = normals(7);
    const differing = (change: number, count: number) =>
      Array.from({ length: count }, () =>
        meanRatio(Array.from({ length: 12 }, () => change * Math.exp(0.08 * next()))),
      ).filter(({ differs }) => differs).length;
    expect(differing(1, 10_000)).toBeLessThan(25);
    expect(differing(0.8, 1000)).toBeGreaterThan(990);
  });
});
