/**
 * Two clocks (docs/adr/0033-two-clocks.md): `performance.now()` is monotonic and measures durations; the wall clock may
 * be set at any time, and serves only timestamps, ids, `exp` of tokens and HTTP dates. Lint allows `Date.now()` and
 * `new Date()` in this file alone.
 */

/** Wall clock in milliseconds since 1970; may go back between calls. */
export function wallClockMs(): number {
  return Date.now();
}

/** ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:30:00.123Z`. */
export function wallClockText(): string {
  return new Date(wallClockMs()).toISOString();
}

const HOUR_MS = 3_600_000;
/** Time without a step of the wall clock before data are deleted by it. */
const CONFIRMED_AFTER_MS = 24 * HOUR_MS;

/** Least lead over performance.now() within an hour that ended at `untilMs`. */
interface Offset {
  sinceMs: number;
  untilMs: number;
  offsetMs: number;
}

const startedMs = performance.now();
/** One for the start and for each hour of the last day with a call of confirmedWallClockMs. */
let offsets: Offset[] = [
  { sinceMs: startedMs, untilMs: startedMs, offsetMs: Date.now() - startedMs },
];

/**
 * Wall clock without its forward steps of the last day, in milliseconds since 1970: a clock that is wrong for an hour
 * must not delete data. Errors at the start are possible before `hasRunForADay`.
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

/** True after a day: a clock that was wrong at the start is then no passing fault. */
export function hasRunForADay(): boolean {
  return performance.now() - startedMs >= CONFIRMED_AFTER_MS;
}

const SAMPLE_INTERVAL_MS = 5_000;

/**
 * Calls `reached` once, when the wall clock reaches `momentMs` (milliseconds since 1970) or the time left at the call
 * has passed: a clock set back causes no delay, one set ahead fires within five seconds. The timer keeps no process
 * alive.
 * @returns a function that cancels it.
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
