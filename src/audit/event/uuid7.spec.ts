import fc from 'fast-check';
import { formatInstant } from '../../platform/runtime/instant';
import { eventMicros, millisecondOf, uuid7 } from './uuid7';

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const micros = fc.integer({ min: 0, max: 9_007_199_254_740_991 });

describe('ids that the service makes', () => {
  it('are UUIDs of version 7 that carry their millisecond', () => {
    fc.assert(
      fc.property(micros, (at) => {
        const id = uuid7(at);
        expect(id).toMatch(UUID7);
        expect(parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(Math.floor(at / 1000));
      }),
      { numRuns: 2000 },
    );
  });

  it('sort as their timestamps do, to the microsecond', () => {
    fc.assert(
      fc.property(micros, fc.integer({ min: 1, max: 5000 }), (at, later) => {
        expect(uuid7(at) < uuid7(at + later)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('tell the range of timestamps to look in', () => {
    fc.assert(
      fc.property(micros, (at) => {
        const range = millisecondOf(uuid7(at));
        const timestamp = formatInstant(at);
        expect(range && range.from <= timestamp && timestamp < range.to).toBe(true);
        expect(range && range.from.slice(0, -4)).toBe(timestamp.slice(0, -4));
      }),
    );
  });

  it('never repeat', () => {
    const ids = new Set(Array.from({ length: 20_000 }, () => uuid7(1_764_000_000_000_000)));
    expect(ids.size).toBe(20_000);
  });

  it('have random bits all over the last eight bytes', () => {
    let ones = 0n;
    let zeros = 0n;
    for (let count = 0; count < 200; count += 1) {
      const bits = BigInt(`0x${uuid7(0).slice(19).replace('-', '')}`);
      ones |= bits;
      zeros |= ~bits & 0xffffffffffffffffn;
    }
    expect(ones).toBe(0xbfffffffffffffffn); // all but the second bit of the variant
    expect(zeros).toBe(0x7fffffffffffffffn);
  });

  it('are told from other UUIDs', () => {
    expect(millisecondOf('0198c1f2-3e4a-4000-8000-1234567890ab')).toBeUndefined();
    expect(millisecondOf('ffffffff-ffff-7fff-bfff-ffffffffffff')).toBeUndefined();
  });
});

describe('the time in microseconds', () => {
  beforeEach(() => void jest.spyOn(performance, 'now').mockReturnValue(1000));
  afterEach(() => jest.restoreAllMocks());

  it('never repeats and never goes back while the clock is set back by five seconds at most', () => {
    const clock = jest.spyOn(Date, 'now').mockReturnValue(4_102_444_800_000);
    const stamps = [eventMicros(), eventMicros()];
    clock.mockReturnValue(4_102_444_795_001);
    stamps.push(eventMicros(), eventMicros());
    clock.mockReturnValue(4_102_444_900_000);
    stamps.push(eventMicros());
    expect(stamps).toEqual([...new Set(stamps)].sort((a, b) => a - b));
    expect(stamps[0]).toBe(4_102_444_800_000_000);
    expect(stamps[4]).toBe(4_102_444_900_000_000);
  });

  it('is no longer ahead once a clock that was ahead for a moment is right again', () => {
    const clock = jest.spyOn(Date, 'now').mockReturnValue(4_102_448_760_000); // 66 minutes ahead
    expect(eventMicros()).toBe(4_102_448_760_000_000);
    clock.mockReturnValue(4_102_444_800_300);
    expect([eventMicros(), eventMicros()]).toEqual([4_102_444_800_300_000, 4_102_444_800_300_001]);
  });

  it('is within five seconds of the clock, whatever steps that makes, and grows between the large ones', () => {
    const clock = jest.spyOn(Date, 'now');
    const step = fc.oneof(
      fc.integer({ min: -6000, max: 6000 }),
      fc.integer({ min: -1e10, max: 1e10 }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 50 }), (steps) => {
        let clockMs = 4_102_444_800_000;
        clock.mockReturnValue(clockMs);
        let last = eventMicros();
        for (const by of steps) {
          clockMs = Math.max(0, clockMs + by);
          clock.mockReturnValue(clockMs);
          const now = eventMicros();
          const aheadMicros = now - clockMs * 1000;
          expect(aheadMicros).toBeGreaterThanOrEqual(-5000); // smaller steps of the wall clock wait
          expect(aheadMicros).toBeLessThanOrEqual(5_000_001);
          expect(now > last || last - clockMs * 1000 > 5_000_000).toBe(true);
          expect(uuid7(now)).toMatch(
            /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
          );
          last = now;
        }
      }),
    );
  });

  it('is no earlier than 1970, which no id can tell', () => {
    jest.spyOn(Date, 'now').mockReturnValue(-86_400_000);
    expect(eventMicros()).toBeGreaterThanOrEqual(0);
  });
});

describe('the time of an event that brings none', () => {
  afterEach(() => jest.restoreAllMocks());

  it.each([0, 0.4, 0.9, 3])(
    'does not count how many others were made since, with a wall clock %p ms ahead of the other',
    (phaseMs) => {
      const wall = jest.spyOn(Date, 'now');
      const passed = jest.spyOn(performance, 'now');
      const at = (ms: number) => {
        passed.mockReturnValue(ms);
        wall.mockReturnValue(Math.floor(4_200_000_000_000 + ms + phaseMs));
      };
      const beginMs = 1_000_000 + phaseMs * 100_000; // later than that of the phase before
      at(beginMs);
      eventMicros();
      for (let ms = beginMs + 1; ms < beginMs + 20; ms += 0.25) {
        at(ms);
        const before = eventMicros();
        for (let others = 0; others < 50; others += 1) eventMicros();
        at(ms + 0.125);
        expect(Math.abs(eventMicros() - before - 125)).toBeLessThanOrEqual(1);
      }
    },
  );

  it('follows a clock that is set', () => {
    const wall = jest.spyOn(Date, 'now').mockReturnValue(4_200_003_600_000);
    expect(eventMicros()).toBe(4_200_003_600_000_000);
    wall.mockReturnValue(4_200_000_000_000);
    expect(eventMicros()).toBe(4_200_000_000_000_000);
  });
});
