import type { Partition } from './partition-catalog';

/** Range of time from (inclusive) and to (exclusive), in milliseconds since 1970. */
export interface TimeRange {
  lowerMs: number;
  upperMs: number;
}

const DAY_MS = 86_400_000;
/** First possible instant of an event (runtime/instant.ts). */
const FIRST_MS = startOfYear(1);
/** Calendar years in monthly partitions, with the current one at most 36, which hold nearly all events. */
const MONTHLY_YEARS = 2;
/** Minimum of earlier years with a partition each; up to the begin of a decade they are 5 to 14. */
const YEARLY_YEARS = 5;
/** Earlier decades with a partition each; one partition has everything older. */
const DECADES = 5;

/**
 * Returns the range of the partition for an instant: a month in this year and the two before it, then a year, then a
 * decade, and one range for everything older. With a retention, all months that are wholly past it share one range, which
 * the next maintenance drops, and a younger range is at most a year: no event stays for more than a year too long.
 *
 * The ranges of all instants are at most 56 partitions (36 months, 14 years, 5 decades and 1); with a retention 36 months,
 * a year for each year of it, and 1. A statement without bounds on `timestamp` locks each partition and its three indexes;
 * a server with default settings has 6 400 locks for all sessions.
 */
export function calendarRange(instantMs: number, nowMs: number, retentionDays: number): TimeRange {
  const keptFromMs = retentionDays > 0 ? startOfMonth(nowMs - retentionDays * DAY_MS) : FIRST_MS;
  if (instantMs < keptFromMs) return { lowerMs: FIRST_MS, upperMs: keptFromMs };
  const year = yearOf(instantMs);
  const firstMonthly = yearOf(nowMs) - MONTHLY_YEARS;
  if (year >= firstMonthly) {
    const lowerMs = startOfMonth(instantMs);
    return { lowerMs, upperMs: startOfMonth(lowerMs + 31 * DAY_MS) };
  }
  const firstYearly = decadeOf(firstMonthly - YEARLY_YEARS);
  if (year >= firstYearly || retentionDays > 0) {
    return { lowerMs: Math.max(startOfYear(year), keptFromMs), upperMs: startOfYear(year + 1) };
  }
  const firstDecade = firstYearly - 10 * DECADES;
  if (year < firstDecade) return { lowerMs: FIRST_MS, upperMs: startOfYear(firstDecade) };
  const decade = decadeOf(year);
  return { lowerMs: startOfYear(decade), upperMs: startOfYear(decade + 10) };
}

/** Returns the largest part of a range around an instant that overlaps no partition; no partition may contain the instant. */
export function freeRange(
  range: TimeRange,
  instantMs: number,
  partitions: readonly Pick<Partition, 'lowerMs' | 'upperMs'>[],
): TimeRange {
  let { lowerMs, upperMs } = range;
  for (const partition of partitions) {
    const from = partition.lowerMs ?? -Infinity;
    const to = partition.upperMs ?? Infinity;
    if (to <= instantMs) lowerMs = Math.max(lowerMs, to);
    else if (from > instantMs) upperMs = Math.min(upperMs, from);
  }
  return { lowerMs, upperMs };
}

/** Returns the covered ranges in order, with neighbours merged. */
export function coveredRanges(
  partitions: readonly Pick<Partition, 'lowerMs' | 'upperMs'>[],
): TimeRange[] {
  const ranges = partitions
    .map(({ lowerMs, upperMs }) => ({
      lowerMs: lowerMs ?? -Infinity,
      upperMs: upperMs ?? Infinity,
    }))
    .sort((a, b) => a.lowerMs - b.lowerMs);
  const merged: TimeRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last && range.lowerMs <= last.upperMs) last.upperMs = Math.max(last.upperMs, range.upperMs);
    else merged.push({ ...range });
  }
  return merged;
}

/** Returns the first instant of a range outside `covered`, or undefined. */
export function firstGap(
  covered: readonly TimeRange[],
  { lowerMs, upperMs }: TimeRange,
): number | undefined {
  const around = covered.find((one) => one.lowerMs <= lowerMs && lowerMs < one.upperMs);
  if (!around) return lowerMs;
  return around.upperMs < upperMs ? around.upperMs : undefined;
}

function yearOf(ms: number): number {
  return new Date(ms).getUTCFullYear();
}

function decadeOf(year: number): number {
  return Math.floor(year / 10) * 10;
}

function startOfYear(year: number): number {
  return new Date(0).setUTCFullYear(year, 0, 1); // Date.UTC maps the years 0 to 99 to 1900 to 1999
}

function startOfMonth(ms: number): number {
  const date = new Date(ms);
  return new Date(0).setUTCFullYear(date.getUTCFullYear(), date.getUTCMonth(), 1);
}

/**
 * Formats a bound (milliseconds since 1970) for a statement, to the microsecond: an operator's partition may begin and
 * end at any instant.
 */
export function boundText(ms: number): string {
  if (!Number.isFinite(ms)) return ms < 0 ? '-infinity' : 'infinity';
  const wholeMs = Math.floor(ms);
  const micros = String(Math.round((ms - wholeMs) * 1000)).padStart(3, '0');
  return `${new Date(wholeMs).toISOString().slice(0, -1)}${micros}Z`;
}
