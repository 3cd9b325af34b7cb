import type { CountedValue, CountKey, CountRow } from './count-statement';
import { isByTime } from './count-statement';

/** Values that counts have at most, those with most events; buckets of time are bounded by their range. */
export const MAX_COUNTED_VALUES = 100;

/** What was counted. */
export interface Tally {
  counts: CountedValue[];
  /** Events, whatever their value. */
  total: number;
  /** Values, those that are not in `counts` too. */
  distinct: number;
}

/** Adds up the counts of disjoint slices of time. */
export class CountTally {
  private readonly found = new Map<string | null, CountedValue>();
  private total = 0;

  constructor(private readonly by: CountKey) {}

  get size(): number {
    return this.found.size;
  }

  add(rows: readonly CountRow[]): void {
    for (const [value, events, start, end] of rows) {
      const known = this.found.get(value);
      if (known) known.events += Number(events);
      else this.found.set(value, { value, events: Number(events), start, end });
    }
    this.total += Number(rows[0]?.[4] ?? 0);
  }

  result(): Tally {
    const all = [...this.found.values()];
    const counts = isByTime(this.by)
      ? all.sort((one, other) => compareTexts(one.start ?? '', other.start ?? ''))
      : all.sort(byEvents).slice(0, MAX_COUNTED_VALUES);
    return { counts, total: this.total, distinct: this.found.size };
  }
}

/** The order of countsStatement. */
function byEvents(one: CountedValue, other: CountedValue): number {
  if (one.events !== other.events) return other.events - one.events;
  if (one.value === null || other.value === null) return one.value === null ? 1 : -1;
  return Buffer.compare(Buffer.from(one.value), Buffer.from(other.value));
}

function compareTexts(one: string, other: string): number {
  return one < other ? -1 : 1;
}
