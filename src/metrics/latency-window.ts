import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { RollingWindow } from '../platform/runtime/rolling-window';

/** A minute of seconds, an hour of minutes. */
const SLOTS = 60;
const LONGEST_MICROSECONDS = 3_600_000_000;
const MICROSECONDS_PER_MS = 1000;

/** Durations in milliseconds; zeros when there were none. */
export interface LatencyReport {
  seconds: number;
  count: number;
  slow: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
}

/** Percentiles are exact to one percent: two significant figures in an HDR histogram. */
function emptyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LONGEST_MICROSECONDS, figures: 2 });
}

/**
 * Durations of the last sixty slots, by default seconds: one HDR histogram of 32 kB a slot, so that recording costs the
 * same at any rate (17 to 32 ns here), and old slots are overwritten.
 */
export class LatencyWindow {
  private readonly window: RollingWindow<Slot>;
  private readonly startedAtSeconds: number;

  /** `nowSeconds` is a monotonic clock. */
  constructor(
    private readonly nowSeconds = () => performance.now() / 1000,
    slotSeconds = 1,
  ) {
    this.window = new RollingWindow(slotSeconds, SLOTS, emptySlot, reset);
    this.startedAtSeconds = nowSeconds();
  }

  record(durationMs: number, isSlow: boolean): void {
    const slot = this.window.current(this.nowSeconds());
    slot.count += 1;
    slot.slow += isSlow ? 1 : 0;
    slot.sumMs += durationMs;
    const microseconds = Math.round(durationMs * MICROSECONDS_PER_MS);
    slot.histogram.record(Math.min(LONGEST_MICROSECONDS, Math.max(1, microseconds)));
  }

  /** The last `seconds`, at most and by default sixty slots: whole ones, and the current one. */
  read(seconds = Infinity): LatencyReport {
    const now = this.nowSeconds();
    const slots = Math.min(SLOTS, Math.ceil(seconds / this.window.slotSeconds));
    const merged = emptyHistogram();
    const sum = { count: 0, slow: 0, sumMs: 0 };
    for (const slot of this.window.recent(now, slots)) {
      merged.add(slot.histogram);
      sum.count += slot.count;
      sum.slow += slot.slow;
      sum.sumMs += slot.sumMs;
    }
    const percentileMs = (percent: number): number =>
      sum.count === 0 ? 0 : merged.percentile(percent) / MICROSECONDS_PER_MS;
    return {
      // At least one second: the first milliseconds of a process give no rate.
      seconds: Math.max(
        1,
        now - Math.max(this.window.beginSeconds(now, slots), this.startedAtSeconds),
      ),
      count: sum.count,
      slow: sum.slow,
      meanMs: sum.count === 0 ? 0 : sum.sumMs / sum.count,
      p50Ms: percentileMs(50),
      p95Ms: percentileMs(95),
      p99Ms: percentileMs(99),
    };
  }
}

type Slot = ReturnType<typeof emptySlot>;

function emptySlot() {
  return { histogram: emptyHistogram(), count: 0, slow: 0, sumMs: 0 };
}

function reset(slot: Slot): void {
  slot.count = 0;
  slot.slow = 0;
  slot.sumMs = 0;
  slot.histogram.reset();
}
