import type { TimeRange } from '../platform/database/partition-ranges';
import type { Seal, SealedIndex } from '../platform/database/seals';

/**
 * Ranges of a partition that grows, at most: each is a probe of every read, and each of its indexes is prepared for by every
 * INSERT, even if it takes no row: 42 indexes (six ranges) cost a statement 70 to 100 µs, 21 none that was measurable.
 */
export const MAX_RANGES = 4;
/**
 * The part of a partition whose growth is sealed, beside the least number of events: PostgreSQL reads the whole partition
 * to build an index over a part of it, so that the builds of a month read it some forty times, however large it is.
 */
const GROWTH_SHARE = 1 / 40;

/** Events since the last seal from which on the next one is made. */
export function growthLimit(leastEvents: number, rows: number): number {
  return Math.max(leastEvents, Math.floor(rows * GROWTH_SHARE));
}

/** Indexes to build and to drop, in this order; a build is complete before the next step. */
export type SealStep =
  { kind: 'build'; index: SealedIndex; range?: TimeRange } | { kind: 'drop'; seal: Seal };

/**
 * What is due for a partition that no longer grows: one seal of each index for all of it, then none for parts. A seal of
 * another definition stays until `isOutdated` says otherwise.
 */
export function wholeSteps(indexes: readonly SealedIndex[], seals: readonly Seal[]): SealStep[] {
  const missing = indexes.filter(
    ({ key }) => !seals.some((seal) => isWhole(seal) && seal.key === key),
  );
  if (missing.length > 0) return missing.map((index) => ({ kind: 'build', index }));
  return seals
    .filter((seal) => seal.isCurrent && seal.range !== undefined)
    .map((seal) => ({ kind: 'drop', seal }));
}

function isWhole({ isCurrent, isValid, range }: Seal): boolean {
  return isCurrent && isValid && range === undefined;
}

/** A range with seals in a partition that grows. */
export interface RangeState extends TimeRange {
  /** Keys of its valid seals. */
  keys: ReadonlySet<string>;
  seals: readonly Seal[];
  rows: number;
}

/** The ranges of a partition that have a seal, oldest first, the longer of two that begin together first. */
export function rangesOf(seals: readonly Seal[]): RangeState[] {
  const ranges = new Map<string, RangeState>();
  for (const seal of seals) {
    if (!seal.isCurrent || !seal.isValid || !seal.range) continue;
    const name = `${seal.range.lowerMs} ${seal.range.upperMs}`;
    const { keys = [], seals: others = [], rows = 0 } = ranges.get(name) ?? {};
    ranges.set(name, {
      ...seal.range,
      keys: new Set([...keys, seal.key]),
      seals: [...others, seal],
      rows: Math.max(rows, seal.rows),
    });
  }
  return [...ranges.values()].sort((a, b) => a.lowerMs - b.lowerMs || b.upperMs - a.upperMs);
}

/** What an interrupted build or merge has left to do: missing seals of a range, then those of ranges within another. */
export function unfinishedSteps(
  indexes: readonly SealedIndex[],
  ranges: readonly RangeState[],
): SealStep[] {
  const outer = outermost(ranges);
  const builds = outer.flatMap(({ lowerMs, upperMs, keys }): SealStep[] =>
    indexes
      .filter(({ key }) => !keys.has(key))
      .map((index) => ({ kind: 'build', index, range: { lowerMs, upperMs } })),
  );
  if (builds.length > 0) return builds;
  const inner = ranges.filter((range) => !outer.includes(range));
  return inner.flatMap(({ seals }) => seals.map((seal): SealStep => ({ kind: 'drop', seal })));
}

/** Ranges that are not within another one. */
export function outermost(ranges: readonly RangeState[]): RangeState[] {
  return ranges.filter(
    (one) =>
      !ranges.some(
        (other) => other !== one && other.lowerMs <= one.lowerMs && one.upperMs <= other.upperMs,
      ),
  );
}

/**
 * How many of the last ranges the next one replaces, that ends with the growth of `growth` events: none, until they would
 * be more than `maxRanges`; then so many that the events written again are the fewest for each range less. With growths of
 * equal size an event is written 1.7 times in 10 of them, 3.2 in 40 and 6.8 in 150 (seal-plan.spec.ts).
 * @param sizes events of the ranges, oldest first.
 */
export function mergedRanges(
  sizes: readonly number[],
  growth: number,
  maxRanges = MAX_RANGES,
): number {
  if (sizes.length < maxRanges) return 0;
  let [best, least, sum] = [1, Infinity, growth];
  for (let count = 1; count <= sizes.length; count += 1) {
    sum += sizes[sizes.length - count] ?? 0;
    if (sum / count < least) [best, least] = [count, sum / count];
  }
  return best;
}
