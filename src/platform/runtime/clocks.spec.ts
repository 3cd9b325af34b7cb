import { confirmedWallClockMs, hasRunForADay, onceReached, wallClockMs } from './clocks';

const HOUR_MS = 3_600_000;
const STARTED_MS = performance.now();

describe('onceReached', () => {
  let reached: number;
  const note = () => (reached += 1);
  const stepClock = (milliseconds: number) => jest.setSystemTime(Date.now() + milliseconds);

  beforeEach(() => {
    reached = 0;
    jest.useFakeTimers();
  });

  afterEach(() => jest.useRealTimers());

  it('calls when the moment has come, once', () => {
    onceReached(wallClockMs() + HOUR_MS, note);
    jest.advanceTimersByTime(HOUR_MS - 1);
    expect(reached).toBe(0);
    jest.advanceTimersByTime(1);
    expect(reached).toBe(1);
    jest.advanceTimersByTime(HOUR_MS);
    expect(reached).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('calls at once for a moment that is past', () => {
    onceReached(wallClockMs(), note);
    expect(reached).toBe(1);
  });

  it('is not put off by a clock that is set back', () => {
    onceReached(wallClockMs() + HOUR_MS, note);
    jest.advanceTimersByTime(1000);
    stepClock(-24 * HOUR_MS);
    jest.advanceTimersByTime(HOUR_MS - 1001);
    expect(reached).toBe(0);
    jest.advanceTimersByTime(1);
    expect(reached).toBe(1);
  });

  it('is brought on within five seconds by a clock that is set ahead', () => {
    onceReached(wallClockMs() + HOUR_MS, note);
    stepClock(2 * HOUR_MS);
    jest.advanceTimersByTime(5000);
    expect(reached).toBe(1);
  });

  it('waits for moments that no single timer reaches', () => {
    const year = 365 * 24 * HOUR_MS;
    const callOff = onceReached(wallClockMs() + year, note);
    jest.advanceTimersByTime(60_000);
    expect(reached).toBe(0);
    callOff();
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('the wall clock that decides over data', () => {
  let passedMs = performance.now();
  let wallMs = Date.now();

  beforeEach(() => {
    jest.spyOn(performance, 'now').mockImplementation(() => passedMs);
    jest.spyOn(Date, 'now').mockImplementation(() => wallMs);
  });

  afterEach(() => jest.restoreAllMocks());

  /** Lets time pass, in which the wall clock is set by `stepMs`; how far the confirmed clock is from the wall clock then. */
  function pass(ms: number, stepMs = 0): number {
    passedMs += ms;
    wallMs += ms + stepMs;
    return Math.round((confirmedWallClockMs() - wallMs) / 1000) + 0;
  }

  it('is the wall clock while that is not set', () => {
    for (let hour = 0; hour < 60; hour += 1) expect(pass(HOUR_MS)).toBe(0);
  });

  it('follows a step ahead after a day, a step back at once', () => {
    expect(pass(HOUR_MS, 366 * 24 * HOUR_MS)).toBe(-366 * 24 * 3600);
    for (let hour = 1; hour < 23; hour += 1) expect(pass(HOUR_MS)).toBe(-366 * 24 * 3600);
    for (let hour = 0; hour < 24; hour += 1) pass(HOUR_MS);
    expect(pass(HOUR_MS)).toBe(0);
    expect(pass(HOUR_MS, -24 * HOUR_MS)).toBe(0);
  });

  it('is not confirmed before the process has run for a day', () => {
    const clock = jest.spyOn(performance, 'now').mockReturnValue(STARTED_MS + 23 * HOUR_MS);
    expect(hasRunForADay()).toBe(false);
    clock.mockReturnValue(STARTED_MS + 24 * HOUR_MS);
    expect(hasRunForADay()).toBe(true);
  });

  it('keeps the least of an hour, however often it is asked in it', () => {
    pass(48 * HOUR_MS);
    pass(48 * HOUR_MS);
    pass(1000, HOUR_MS);
    for (let count = 0; count < 100; count += 1) expect(pass(1000)).toBe(-3600);
    const min = jest.spyOn(Math, 'min');
    pass(1000);
    expect(Math.max(...min.mock.calls.map((values) => values.length))).toBeLessThanOrEqual(26);
    pass(48 * HOUR_MS);
    pass(48 * HOUR_MS);
  });

  it('needs no calls in between: after two days without one a step is old enough', () => {
    expect(pass(48 * HOUR_MS, HOUR_MS)).toBe(-3600);
    expect(pass(48 * HOUR_MS)).toBe(0);
  });
});
