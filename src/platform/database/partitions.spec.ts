import fc from 'fast-check';
import { addMonths, monthOf } from './partitions';

describe('months', () => {
  it.each([
    ['2026-11', 1, '2026-12'],
    ['2026-12', 1, '2027-01'],
    ['2026-01', -1, '2025-12'],
    ['2026-11', 0, '2026-11'],
    ['2026-11', 26, '2029-01'],
    ['1970-01', -1, '1969-12'],
    ['1999-12', 1, '2000-01'],
    ['0099-12', 1, '0100-01'],
    ['0001-01', 11, '0001-12'],
  ])('%s and %i more is %s', (month, count, sum) => {
    expect(addMonths(month, count)).toBe(sum);
  });

  it('can be added and subtracted, and sort as text', () => {
    const month = fc
      .tuple(fc.integer({ min: 500, max: 9000 }), fc.integer({ min: 1, max: 12 }))
      .map(([y, m]) => `${String(y).padStart(4, '0')}-${String(m).padStart(2, '0')}`);
    fc.assert(
      fc.property(month, fc.integer({ min: 1, max: 5000 }), (start, count) => {
        const later = addMonths(start, count);
        expect(addMonths(later, -count)).toBe(start);
        expect(later > start).toBe(true);
        expect(addMonths(addMonths(start, 1), count - 1)).toBe(later);
      }),
    );
  });

  it('are those of UTC', () => {
    expect(monthOf('2026-11-30T23:59:59.999999Z')).toBe('2026-11');
  });
});
