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

/** The least that the wall clock was ahead of performance.now() within an hour that ended at `untilMs`. */
interface Offset {
  sinceMs: number;
  untilMs: number;
  offsetMs: number;
}

const startedMs = performance.now();
/** One for the start and one for each hour with a call of confirmedWallClockMs, of the last day. */
let offsets: Offset[] = [
  { sinceMs: startedMs, untilMs: startedMs, offsetMs: Date.now() - startedMs },
];

/**
 * The wall clock as it would be without the steps ahead of the last day, in milliseconds since 1970: for what deletes
 * data, which a clock that is wrong for an hour must not bring about. Whether it was right at the start is not known
 * before `hasRunForADay`.
 */
export function confirmedWallClockMs(): number {
  const atMs = performance.now();
  const offsetMs = wallClockMs() - atMs;
  const recent = offsets.filter(({ untilMs }) => atMs - untilMs < CONFIRMED_AFTER_MS);
  offsets = recent.length > 0 ? recent : offsets.slice(-1);
  const last = offsets.at(-1);
  if (recent.length > 0 && last && atMs - last.sinceMs < HOUR_MS) {
    offsets[offsets.length - 1] = {
      sinceMs: last.sinceMs,
      untilMs: atMs,
      offsetMs: Math.min(last.offsetMs, offsetMs),
    };
  } else {
    offsets.push({ sinceMs: atMs, untilMs: atMs, offsetMs });
  }
  return atMs + Math.min(...offsets.map((one) => one.offsetMs));
}

/** Whether this process has run for so long that a clock which was wrong at its start is no passing fault. */
export function hasRunForADay(): boolean {
  return performance.now() - startedMs >= CONFIRMED_AFTER_MS;
}

/** Milliseconds that pass between two looks of `onceReached` at the wall clock: a step is noticed within that. */
const SAMPLE_INTERVAL_MS = 5_000;

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
    if (leftMs > 0) timer = setTimeout(look, Math.min(SAMPLE_INTERVAL_MS, leftMs)).unref();
    else reached();
  };
  look();
  return () => clearTimeout(timer);
}
