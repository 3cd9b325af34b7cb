import fc from 'fast-check';
import { LatencyWindow, SlowRequests } from './request-recorder';

interface Sample {
  atSeconds: number;
  ms: number;
  isSlow: boolean;
}

const samples = fc.array(
  fc.record({
    gapSeconds: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 3, noNaN: true })),
    ms: fc.oneof(
      fc.double({ min: 0.001, max: 50, noNaN: true }),
      fc.double({ min: 0, max: 100_000, noNaN: true }),
    ),
    isSlow: fc.boolean(),
  }),
  { maxLength: 300 },
);

/** The value below or at which `percent` of the sorted values lie: the reference, exact. */
function percentileOf(sorted: number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}

/** Records the samples, the gaps between them stretched to the length of a slot, and compares the last `slots`. */
function checkWindow(
  gaps: { gapSeconds: number; ms: number; isSlow: boolean }[],
  slotSeconds: number,
  slots: number,
): void {
  let now = 1000.25 * slotSeconds;
  const window = new LatencyWindow(() => now, slotSeconds);
  const slotOf = (atSeconds: number) => Math.floor(atSeconds / slotSeconds);
  const all: Sample[] = [];
  for (const { gapSeconds, ms, isSlow } of gaps) {
    now += gapSeconds * slotSeconds;
    window.record(ms, isSlow);
    all.push({ atSeconds: now, ms, isSlow });
  }
  const oldest = slotOf(now) - slots + 1;
  const kept = all.filter(({ atSeconds }) => slotOf(atSeconds) >= oldest);
  const sorted = kept.map(({ ms }) => ms).sort((a, b) => a - b);
  const report = window.read(slots * slotSeconds);
  expect(report.count).toBe(kept.length);
  expect(report.slow).toBe(kept.filter(({ isSlow }) => isSlow).length);
  const sum = sorted.reduce((total, ms) => total + ms, 0);
  expect(report.meanMs).toBeCloseTo(kept.length === 0 ? 0 : sum / kept.length, 6);
  for (const [percent, found] of [
    [50, report.p50Ms],
    [95, report.p95Ms],
    [99, report.p99Ms],
  ] as const) {
    const exact = percentileOf(sorted, percent);
    expect(Math.abs(found - exact)).toBeLessThanOrEqual(0.01 * exact + 0.0011);
  }
}

describe('the window of latencies', () => {
  it('says the same as an exact reference, to one percent or a microsecond', () => {
    fc.assert(
      fc.property(samples, fc.constantFrom(1, 60), fc.integer({ min: 1, max: 60 }), checkWindow),
      { numRuns: 200 },
    );
  });

  it('looks back a minute at most, and in a young process as far as there was anything', () => {
    let now = 50;
    const window = new LatencyWindow(() => now);
    expect(window.read()).toMatchObject({ seconds: 1, count: 0, meanMs: 0, p99Ms: 0 });
    window.record(5, false);
    now = 60.5;
    expect(window.read()).toMatchObject({ seconds: 10.5, count: 1 });
    now = 109.9;
    expect(window.read()).toMatchObject({ count: 1 });
    expect(window.read().seconds).toBeCloseTo(59.9);
    now = 110;
    expect(window.read()).toMatchObject({ seconds: 59, count: 0 });
  });

  it('with slots of a minute looks back an hour at most, in whole minutes', () => {
    let now = 30;
    const window = new LatencyWindow(() => now, 60);
    window.record(5, false);
    now = 59 * 60 + 59;
    window.record(500, true);
    expect(window.read()).toMatchObject({ seconds: now - 30, count: 2, slow: 1 });
    now += 1;
    expect(window.read()).toMatchObject({ seconds: 59 * 60, count: 1, slow: 1 });
    now += 3600;
    expect(window.read()).toMatchObject({ count: 0, p50Ms: 0 });
  });

  it('counts what takes longer than an hour as an hour', () => {
    const window = new LatencyWindow(() => 0);
    window.record(1e9, true);
    expect(window.read().p99Ms / 3_600_000).toBeCloseTo(1, 1);
  });
});

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
