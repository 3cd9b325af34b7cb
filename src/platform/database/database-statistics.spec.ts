import { PoolStats } from './database-statistics';

describe('a pool meter', () => {
  it('has no figures before the first acquisition', () => {
    expect(new PoolStats().statistics()).toEqual({ lent: 0 });
  });

  it('averages the waits of granted acquisitions, and counts the others', () => {
    const meter = new PoolStats();
    meter.record(1, true, 5000);
    meter.record(3, true, 15_000);
    meter.record(500, false, 15_000);
    meter.record(500, false, 15_000);
    expect(meter.statistics(16_000)).toEqual({ lent: 2, averageMs: 2, successPercent: 50 });
  });

  it('counts an acquisition with a wait before it once, with both waits', () => {
    const meter = new PoolStats();
    meter.recordBefore(8, 5000);
    meter.record(2, true, 5000);
    expect(meter.statistics(6000)).toEqual({ lent: 1, averageMs: 10, successPercent: 100 });
  });

  it('forgets after five minutes', () => {
    const meter = new PoolStats();
    meter.record(100, true, 5000);
    expect(meter.statistics(299_000)).toEqual({ lent: 1, averageMs: 100, successPercent: 100 });
    expect(meter.statistics(310_000)).toEqual({ lent: 0 });
    meter.record(1, true, 310_000);
    expect(meter.statistics(310_000)).toEqual({ lent: 1, averageMs: 1, successPercent: 100 });
  });
});
