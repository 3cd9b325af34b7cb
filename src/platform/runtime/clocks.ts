/**
 * The two clocks of the process (docs/adr/0033-two-clocks.md): `performance.now()` only goes forward and measures
 * durations; the wall clock may be set ahead or back at any time, and belongs only into timestamps, ids, `exp` of
 * tokens and HTTP dates. Lint allows `Date.now()` and `new Date()` in this file alone.
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
/** Time for which the wall clock must not have stepped before data are deleted by it. */
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
 * The wall clock without its steps ahead of the last day, in milliseconds since 1970: for deleting data, which a clock
 * that is wrong for an hour must not cause. Whether it was right at the start is not known before `hasRunForADay`.
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

/** Whether the process has run so long that a clock which was wrong at its start is no passing fault. */
export function hasRunForADay(): boolean {
  return performance.now() - startedMs >= CONFIRMED_AFTER_MS;
}

/** Milliseconds between two samples of the wall clock in `onceReached`. */
const SAMPLE_INTERVAL_MS = 5_000;

/**
 * Calls `reached` once, when the wall clock reaches `momentMs` (milliseconds since 1970) or when as much time has
 * passed as was left at the call: a clock that is set back does not delay it, one that is set ahead fires it within
 * five seconds. The timer keeps no process alive.
 * @returns what cancels it.
 */
export function onceReached(momentMs: number, reached: () => void): () => void {
  const deadlineMs = performance.now() + momentMs - wallClockMs();
  let timer: NodeJS.Timeout | undefined;
  const sample = (): void => {
    const leftMs = Math.min(momentMs - wallClockMs(), deadlineMs - performance.now());
    if (leftMs > 0) timer = setTimeout(sample, Math.min(SAMPLE_INTERVAL_MS, leftMs)).unref();
    else reached();
  };
  sample();
  return () => clearTimeout(timer);
}
