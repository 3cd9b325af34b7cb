import fc from 'fast-check';
import { SlowRequests } from './slow-requests';

describe('the slow requests of the last hour', () => {
  it('are those of an exact reference', () => {
    const step = fc.record({
      gapSeconds: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 900 })),
      endpoint: fc.constantFrom('GET /a', 'GET /b', 'POST /a'),
      ms: fc.integer({ min: 1, max: 10_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let now = 10_000;
        const slow = new SlowRequests(() => now);
        const all: { minute: number; endpoint: string; ms: number }[] = [];
        for (const { gapSeconds, endpoint, ms } of steps) {
          now += gapSeconds;
          slow.record(endpoint, ms);
          all.push({ minute: Math.floor(now / 60), endpoint, ms });
        }
        const kept = all.filter(({ minute }) => minute > Math.floor(now / 60) - 60);
        const report = slow.read();
        expect(report.count).toBe(kept.length);
        const total = kept.reduce((sum, { ms }) => sum + ms, 0);
        expect(report.averageTime).toBeCloseTo(kept.length === 0 ? 0 : total / kept.length, 6);
        for (const { endpoint, count, averageTime } of report.slowestEndpoints) {
          const own = kept.filter((one) => one.endpoint === endpoint).map(({ ms }) => ms);
          expect(count).toBe(own.length);
          expect(averageTime).toBeCloseTo(own.reduce((sum, ms) => sum + ms, 0) / own.length, 6);
        }
      }),
    );
  });

  it('list the ten slowest endpoints, the slowest first', () => {
    const slow = new SlowRequests(() => 0);
    for (let at = 0; at < 15; at += 1) slow.record(`GET /${at}`, 1000 + at);
    const { count, slowestEndpoints } = slow.read();
    expect(count).toBe(15);
    expect(slowestEndpoints.map(({ endpoint }) => endpoint)).toEqual(
      Array.from({ length: 10 }, (_, at) => `GET /${14 - at}`),
    );
  });
});
