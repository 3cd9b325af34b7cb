import { ChangeRates } from './change-rates';

const PRIOR_MS = 20_000;

/** Looks each `lookMs` at a version that changes each `changeMs`. */
function observe(
  rates: ChangeRates,
  times: number,
  lookMs: number,
  changeMs: number,
  fromMs = 0,
): number {
  let nowMs = fromMs;
  for (let look = 0; look < times; look += 1) {
    nowMs += lookMs;
    rates.record('org', `${fromMs}.${Math.floor(nowMs / changeMs)}`, nowMs);
  }
  return nowMs;
}

describe('ChangeRates', () => {
  const intervalMs = (rates: ChangeRates) => 1 / rates.perMs('org');

  it('goes by the prior where nothing is known', () => {
    const rates = new ChangeRates(PRIOR_MS);
    expect(intervalMs(rates)).toBeCloseTo(PRIOR_MS);
    rates.record('org', '1', 0);
    expect(intervalMs(rates)).toBeCloseTo(PRIOR_MS);
  });

  it.each([500, 5000, 500_000])('learns an interval of %i ms from looks in between', (changeMs) => {
    const rates = new ChangeRates(PRIOR_MS);
    observe(rates, 1000, changeMs / 10, changeMs);
    expect(intervalMs(rates)).toBeGreaterThan(changeMs / 2);
    expect(intervalMs(rates)).toBeLessThan(changeMs * 2);
  });

  it('takes a version that differs at each look for one that changes more often', () => {
    const rates = new ChangeRates(PRIOR_MS);
    observe(rates, 200, 60_000, 1000);
    expect(intervalMs(rates)).toBeLessThan(60_000 / 3);
  });

  it('grows as long as nothing changes, and falls again', () => {
    const rates = new ChangeRates(PRIOR_MS);
    const nowMs = observe(rates, 100, 36_000, Infinity);
    expect(intervalMs(rates)).toBeGreaterThan(3_500_000);
    observe(rates, 60, 1000, 1000, nowMs);
    expect(intervalMs(rates)).toBeLessThan(10_000);
  });

  it('stays finite when a clock does not move between changes', () => {
    const rates = new ChangeRates(PRIOR_MS);
    for (let change = 0; change < 5000; change += 1) rates.record('org', `${change}`, 0);
    rates.record('org', 'last', 1e9);
    expect(intervalMs(rates)).toBeGreaterThanOrEqual(1);
    expect(intervalMs(rates)).toBeLessThan(1e9);
  });

  it('knows of so many tenants that all together are bounded', () => {
    const rates = new ChangeRates(PRIOR_MS);
    observe(rates, 100, 36_000, Infinity);
    for (let other = 0; other < 10_000; other += 1) rates.record(`other ${other}`, '1', 3_600_000);
    expect(intervalMs(rates)).toBeCloseTo(PRIOR_MS);
  });
});
