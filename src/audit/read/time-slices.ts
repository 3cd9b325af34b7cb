import type { Micros } from '../../platform/runtime/instant';
import type { TimeSlice } from './count-statement';

const DAY = 86_400_000_000;
/** The first slice, and the length beyond which a slice is all that is left. */
const [FIRST, LONGEST] = [7 * DAY, 3650 * DAY];
/** Time up to which a slice is followed by a longer one, and how much longer or shorter slices become. */
const SLICE_MS = 500;
const [MAX_GROWTH, SHRINKAGE] = [8, 8];

/**
 * Slices of a range of time, the newest first: a count that has to end has counted all events from some instant on. They grow
 * while they are quick, as each has a cost of its own.
 */
export class TimeSlices {
  current: TimeSlice;
  private length = FIRST;

  /** @param newest no event is after it. */
  constructor(
    private readonly range: TimeSlice,
    private readonly newest: Micros,
  ) {
    this.current = { ...range, from: this.startOf(this.upper(range)) };
  }

  /** The events from this instant on are in the slices before the current one. */
  get countedFrom(): Micros {
    return this.upper(this.current);
  }

  /** Goes on to the next slice, after the current one took so long; false when it was the last one. */
  advance(tookMs: number): boolean {
    const { from } = this.current;
    if (from === undefined || from <= (this.range.from ?? -Infinity)) return false;
    const growth = Math.min(MAX_GROWTH, Math.max(1, SLICE_MS / tookMs));
    this.length = Math.ceil(this.length * growth);
    this.current = { from: this.startOf(from), to: from };
    return true;
  }

  /** Takes a part of the current slice in its place, the newest. */
  narrow(): void {
    const upper = this.upper(this.current);
    const length = Math.min(LONGEST, upper - (this.current.from ?? -Infinity));
    this.length = Math.max(1, Math.ceil(length / SHRINKAGE));
    this.current = { ...this.current, from: this.startOf(upper) };
  }

  private upper({ to = Infinity }: TimeSlice): Micros {
    return Math.min(to, this.newest);
  }

  private startOf(upper: Micros): Micros | undefined {
    const { from } = this.range;
    if (this.length > LONGEST) return from;
    return Math.max(from ?? -Infinity, upper - this.length);
  }
}
