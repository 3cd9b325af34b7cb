import { DemandEstimator, type Demand } from './demand-estimator';

const MB = 1024 * 1024;
const LIMITS = { usualMs: 60_000, minMs: 10_000, maxMs: 3_600_000 };

describe('DemandEstimator', () => {
  let nowMs = 0;

  beforeEach(() => {
    nowMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
  });

  afterEach(() => jest.restoreAllMocks());

  /** Requests every second; the version changes every `changeSeconds`. */
  function ask(
    estimator: DemandEstimator,
    demand: Demand,
    seconds: number,
    changeSeconds: number,
  ): void {
    for (let second = 0; second < seconds; second += 1) {
      nowMs += 1000;
      estimator.recordRequest(demand, nowMs);
      estimator.recordVersion(demand, String(Math.floor(nowMs / 1000 / changeSeconds)), nowMs);
    }
  }

  it('starts with the fixed lifetime', () => {
    const estimator = new DemandEstimator(MB, LIMITS);
    const demand = estimator.demandOf('key', 'org');
    estimator.recordRequest(demand, nowMs);
    expect(estimator.lifetimeMs(demand)).toBe(60_000);
    expect(estimator.isWorthSharing(demand, nowMs)).toBe(true);
  });

  it('estimates long lifetimes for tenants that change seldom, and short ones for others, within limits', () => {
    const estimator = new DemandEstimator(MB, LIMITS);
    const [calm, busy] = [estimator.demandOf('a', 'calm'), estimator.demandOf('b', 'busy')];
    ask(estimator, busy, 100, 1);
    expect(estimator.lifetimeMs(busy)).toBe(10_000);
    ask(estimator, calm, 300, Infinity);
    expect(estimator.lifetimeMs(calm)).toBeGreaterThan(600_000);
    ask(estimator, calm, 3600, Infinity);
    expect(estimator.lifetimeMs(calm)).toBe(3_600_000);
  });

  it.each([
    [{ ...LIMITS, usualMs: 5000 }, 5000],
    [{ ...LIMITS, usualMs: 7_200_000 }, 7_200_000],
  ])('never bounds a lifetime more narrowly than the fixed one: %j', (limits, expected) => {
    const estimator = new DemandEstimator(MB, limits);
    expect(estimator.lifetimeMs(estimator.demandOf('key', 'org'))).toBe(expected);
  });

  it('values a response by its hits: requests between two changes of its tenants', () => {
    const estimator = new DemandEstimator(MB, LIMITS);
    const often = estimator.demandOf('often', 'busy');
    const seldom = estimator.demandOf('seldom', 'calm');
    const never = estimator.demandOf('never', 'calm');
    for (let minute = 0; minute < 10; minute += 1) {
      ask(estimator, seldom, 1, Infinity);
      // Requested each second, of a tenant that writes ten times as often.
      for (let second = 0; second < 20; second += 1) {
        nowMs += 1000;
        estimator.recordRequest(often, nowMs);
        for (let tenth = 0; tenth < 10; tenth += 1) {
          estimator.recordVersion(often, `${minute} ${second} ${tenth}`, nowMs + tenth * 100);
        }
      }
      nowMs += 40_000;
    }
    expect(estimator.worth(never, nowMs)).toBe(0);
    expect(estimator.worth(seldom, nowMs)).toBeGreaterThan(5);
    expect(estimator.worth(seldom, nowMs)).toBeLessThanOrEqual(10);
    expect(estimator.worth(often, nowMs)).toBeLessThan(200 / 4);
  });

  it('shares responses that are found again before the next change, and no others', () => {
    const estimator = new DemandEstimator(MB, LIMITS);
    const [hot, cold] = [estimator.demandOf('hot', 'busy'), estimator.demandOf('cold', 'busy')];
    ask(estimator, hot, 300, 2);
    estimator.recordRequest(cold, nowMs);
    expect(estimator.isWorthSharing(hot, nowMs)).toBe(true);
    expect(estimator.isWorthSharing(cold, nowMs)).toBe(false);
  });
});
