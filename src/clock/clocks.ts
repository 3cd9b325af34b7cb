/**
 * The two clocks of the process (docs/adr/0033-two-clocks.md).
 *
 * `performance.now()` only goes forward and measures durations: deadlines, ages, intervals. The wall clock says which
 * moment it is, and may be set ahead or back at any time: it belongs into what others read (timestamps, ids, `exp` of
 * tokens, HTTP dates), and into nothing that is timed here. Lint allows `Date.now()` and `new Date()` in this file alone.
 */

/** The wall clock, in milliseconds since 1970. May be less than at the call before. */
export function wallClockMs(): number {
  return Date.now();
}

/** The wall clock as ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:30:00.123Z`. */
export function wallClockText(): string {
  return new Date(wallClockMs()).toISOString();
}

const HOUR_MS = 3_600_000;
/** How long the wall clock has to agree with itself before it decides over data. */
const CONFIRMED_AFTER_MS = 24 * HOUR_MS;

/** How far the wall clock was ahead of performance.now(), and when: at the start and at each call of confirmedWallClockMs. */
let offsets = [{ atMs: performance.now(), offsetMs: Date.now() - performance.now() }];

/**
 * The wall clock as it would be without the steps ahead of the last day, in milliseconds since 1970: for what deletes
 * data, which a clock that is wrong for an hour must not bring about.
 */
export function confirmedWallClockMs(): number {
  const atMs = performance.now();
  const offsetMs = wallClockMs() - atMs;
  const recent = offsets.filter((one) => atMs - one.atMs < CONFIRMED_AFTER_MS);
  offsets = [...(recent.length > 0 ? recent : offsets.slice(-1)), { atMs, offsetMs }];
  return atMs + Math.min(...offsets.map((one) => one.offsetMs));
}

/** Milliseconds that pass between two looks of `onceReached` at the wall clock: a step is noticed within that. */
const LOOK_MS = 5_000;

/**
 * Calls `reached` once, when the wall clock reaches `momentMs` (milliseconds since 1970), or when as much time has passed
 * as was left until then at the call: a clock that is set back does not put it off, one that is set ahead brings it on
 * within five seconds. At once when the moment is past. The timer keeps no process alive.
 * @returns what calls it off.
 */
export function onceReached(momentMs: number, reached: () => void): () => void {
  const deadlineMs = performance.now() + momentMs - wallClockMs();
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    const leftMs = Math.min(momentMs - wallClockMs(), deadlineMs - performance.now());
    if (leftMs > 0) timer = setTimeout(look, Math.min(LOOK_MS, leftMs)).unref();
    else reached();
  };
  look();
  return () => clearTimeout(timer);
}
