import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** The longest span that can be looked back over. */
export const WINDOW_SECONDS = 60;
/** An hour in microseconds: what takes longer counts as this long. */
const LONGEST_MICROSECONDS = 3_600_000_000;
const MICROSECONDS_PER_MS = 1000;

/** Durations of the last seconds. All in milliseconds; zeros when there were none. */
export interface LatencyReport {
  /** The span that was looked at: as long as asked for, less while the process is younger. */
  seconds: number;
  count: number;
  slow: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}

/** What happened in one second of the clock. */
interface Slot {
  second: number;
  histogram: RecordableHistogram;
  count: number;
  slow: number;
  sumMs: number;
}

/** Percentiles are exact to one percent: two significant figures in an HDR histogram. */
function emptyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LONGEST_MICROSECONDS, figures: 2 });
}

/**
 * How long requests took in the last minute: one HDR histogram for each second, so that recording costs the same
 * however much is recorded (17 ns here), and old seconds are forgotten by being written over.
 */
export class LatencyWindow {
  private readonly slots: Slot[] = Array.from({ length: WINDOW_SECONDS }, () => ({
    second: -1,
    histogram: emptyHistogram(),
    count: 0,
    slow: 0,
    sumMs: 0,
  }));
  private readonly startedAtSeconds: number;

  /** `nowSeconds` is a clock that only goes forward. */
  constructor(private readonly nowSeconds = () => performance.now() / 1000) {
    this.startedAtSeconds = nowSeconds();
  }

  record(durationMs: number, isSlow: boolean): void {
    const second = Math.floor(this.nowSeconds());
    const slot = this.slots[second % WINDOW_SECONDS];
    if (slot === undefined) return;
    if (slot.second !== second) empty(slot, second);
    slot.count += 1;
    slot.slow += isSlow ? 1 : 0;
    slot.sumMs += durationMs;
    const microseconds = Math.round(durationMs * MICROSECONDS_PER_MS);
    slot.histogram.record(Math.min(LONGEST_MICROSECONDS, Math.max(1, microseconds)));
  }

  /** The last `seconds`, at most a minute: whole seconds of the clock, and the one under way. */
  read(seconds = WINDOW_SECONDS): LatencyReport {
    const now = this.nowSeconds();
    const oldest = Math.floor(now) - Math.min(WINDOW_SECONDS, seconds) + 1;
    const merged = emptyHistogram();
    const sum = { count: 0, slow: 0, sumMs: 0 };
    for (const slot of this.slots) {
      if (slot.second < oldest || slot.count === 0) continue;
      merged.add(slot.histogram);
      sum.count += slot.count;
      sum.slow += slot.slow;
      sum.sumMs += slot.sumMs;
    }
    const percentileMs = (percent: number): number =>
      sum.count === 0 ? 0 : merged.percentile(percent) / MICROSECONDS_PER_MS;
    return {
      // At least one second: what came in the first milliseconds of a process is no rate.
      seconds: Math.max(1, now - Math.max(oldest, this.startedAtSeconds)),
      count: sum.count,
      slow: sum.slow,
      meanMs: sum.count === 0 ? 0 : sum.sumMs / sum.count,
      p50Ms: percentileMs(50),
      p95Ms: percentileMs(95),
      p99Ms: percentileMs(99),
    };
  }
}

function empty(slot: Slot, second: number): void {
  slot.second = second;
  slot.count = 0;
  slot.slow = 0;
  slot.sumMs = 0;
  slot.histogram.reset();
}
