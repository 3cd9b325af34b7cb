import type { Partition } from './partition-catalog';
import { createSeal, intersectRanges, type Seal, sealedRanges } from './seals';

const DAY = 86_400_000;
const partition = (oid: number, fromDay: number | null, toDay: number): Partition => ({
  oid,
  name: `p${oid}`,
  lowerMs: fromDay === null ? null : fromDay * DAY,
  upperMs: toDay * DAY,
  isDetaching: false,
});
const seal = (of: number, range?: [number, number], changes: Partial<Seal> = {}): Seal => ({
  name: 's',
  partition: of,
  key: 'a',
  isCurrent: true,
  isValid: true,
  rows: 1,
  bytes: 1,
  ...(range ? { range: { lowerMs: range[0] * DAY, upperMs: range[1] * DAY } } : {}),
  ...changes,
});
const days = (ranges: readonly { lowerMs: number; upperMs: number; isWhole: boolean }[]) =>
  ranges.map(({ lowerMs, upperMs, isWhole }) => [lowerMs / DAY, upperMs / DAY, isWhole]);

describe('sealed ranges', () => {
  const partitions = [partition(1, 0, 30), partition(2, 40, 60), partition(3, 60, 90)];

  it('join whole partitions with the time before them that no partition has', () => {
    expect(days(sealedRanges(partitions, [seal(1), seal(2)], 'a'))).toEqual([
      [-Infinity, 60, true],
    ]);
  });

  it('begin behind a partition that is not sealed', () => {
    expect(days(sealedRanges(partitions, [seal(2), seal(3)], 'a'))).toEqual([[30, 90, true]]);
  });

  it('are those of parts, of which a larger one replaces its own parts', () => {
    const parts = [seal(3, [60, 70]), seal(3, [70, 75]), seal(3, [60, 75]), seal(3, [75, 80])];
    expect(days(sealedRanges(partitions, [seal(2), ...parts], 'a'))).toEqual([
      [30, 60, true],
      [60, 75, false],
      [75, 80, false],
    ]);
  });

  it('are of valid indexes of this definition alone', () => {
    const useless = [
      seal(1, undefined, { isValid: false }),
      seal(2, undefined, { isCurrent: false }),
      seal(3, undefined, { key: 'b' }),
    ];
    expect(sealedRanges(partitions, useless, 'a')).toEqual([]);
  });

  it('of two indexes are what both cover', () => {
    const one = sealedRanges(partitions, [seal(1), seal(2)], 'a');
    const other = sealedRanges(partitions, [seal(2), seal(3, [60, 70])], 'a');
    expect(days(intersectRanges(one, other))).toEqual([[30, 60, true]]);
  });

  it('have names that PostgreSQL does not shorten', () => {
    const index = { key: 'correlation', definition: 'USING btree (a)' };
    const range = { lowerMs: Date.UTC(2026, 10, 1), upperMs: Date.UTC(2058, 10, 1) };
    for (const one of [undefined, range]) {
      const { name, statement } = createSeal('events_of_tests', index, 'p', one);
      expect(name.length).toBeLessThanOrEqual(63);
      expect(statement).toContain(`CREATE INDEX CONCURRENTLY ${name} ON p USING btree (a)`);
    }
  });
});
