import type { Partition } from './partition-catalog';

/** A half-open range of time: from (inclusive) and to (exclusive), in milliseconds since 1970. */
export interface TimeRange {
  lowerMs: number;
  upperMs: number;
}

const DAY_MS = 86_400_000;
/** The first instant that an event can have (runtime/instant.ts). */
const FIRST_MS = startOfYear(1);
/**
 * Calendar years before the current one with a partition a month, which nearly all events are of: with the months of
 * this year 36 partitions at most.
 */
const MONTHLY_YEARS = 2;
/** Calendar years before those with one a year at least; the decade in which they begin has years, too: 5 to 14. */
const YEARLY_YEARS = 5;
/** Decades before those with one each; what is older is in one. */
const DECADES = 5;

/**
 * The range of the partition for an instant: a month of this year or of the two before it, a year before that, then a
 * decade, and one for all that is older. With a retention, all months that are wholly past it are one range, which the
 * next maintenance drops, and nothing younger shares more than its year: no event is kept for more than a year too
 * long.
 *
 * Whatever timestamps clients send, there are at most 56 partitions (36 months, 14 years, 5 decades and 1); with a
 * retention 36 months, a year for each year of it and 1. Every statement that does not bound `timestamp` locks each
 * partition and its three indexes, and a stock server has 6 400 locks for all of its sessions.
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

/**
 * The largest part of a range around an instant that overlaps none of these partitions. The instant itself must be in
 * none of them.
 */
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

/** The ranges that partitions cover together, in order; neighbours are one. */
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

/** The first instant of a range that is in none of these (coveredRanges); undefined when all of it is covered. */
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
  return new Date(0).setUTCFullYear(year, 0, 1); // Date.UTC takes the years 0 to 99 for 1900 to 1999
}

function startOfMonth(ms: number): number {
  const date = new Date(ms);
  return new Date(0).setUTCFullYear(date.getUTCFullYear(), date.getUTCMonth(), 1);
}
