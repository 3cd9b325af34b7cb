import { PoolMeter } from './pool-meter';

describe('a pool meter', () => {
  it('knows nothing before anybody asked', () => {
    expect(new PoolMeter().statistics()).toEqual({});
  });

  it('averages the waits of those who got a connection, and counts the others', () => {
    const meter = new PoolMeter();
    meter.record(1, true, 5000);
    meter.record(3, true, 15_000);
    meter.record(500, false, 15_000);
    meter.record(500, false, 15_000);
    expect(meter.statistics(16_000)).toEqual({ averageMs: 2, successPercent: 50 });
  });

  it('forgets after five minutes', () => {
    const meter = new PoolMeter();
    meter.record(100, true, 5000);
    expect(meter.statistics(299_000)).toEqual({ averageMs: 100, successPercent: 100 });
    expect(meter.statistics(310_000)).toEqual({});
    meter.record(1, true, 310_000);
    expect(meter.statistics(310_000)).toEqual({ averageMs: 1, successPercent: 100 });
  });
});
