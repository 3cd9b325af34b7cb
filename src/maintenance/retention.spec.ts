import fc from 'fast-check';
import { addMonths } from '../platform/database/partitions';
import { isExpired } from './retention';

const DAY_MS = 86_400_000;
const startOf = (month: string) => Date.parse(`${month}-01T00:00:00Z`);

const month = fc
  .tuple(fc.integer({ min: 1, max: 9990 }), fc.integer({ min: 1, max: 12 }))
  .map(([y, m]) => `${String(y).padStart(4, '0')}-${String(m).padStart(2, '0')}`);
/** Spans of one to many months, as an operator's yearly partition has. */
const span = fc.integer({ min: 1, max: 36 });
const days = fc.integer({ min: 1, max: 36_500 });
/** Any instant, and every instant near the edge of the retention. */
const aroundEdge = fc.integer({ min: -3 * DAY_MS, max: 3 * DAY_MS });
const offsetMinutes = fc.integer({ min: -14 * 60, max: 14 * 60 });

describe('the retention of a partition', () => {
  it('never drops a partition that may have a row younger than RETENTION_DAYS', () => {
    fc.assert(
      fc.property(month, span, days, aroundEdge, (start, months, retentionDays, shift) => {
        const upperMs = startOf(addMonths(start, months));
        const nowMs = upperMs + retentionDays * DAY_MS + shift;
        if (isExpired(upperMs, nowMs, retentionDays)) {
          // The upper bound is exclusive: the youngest row is older.
          expect(nowMs - upperMs).toBeGreaterThanOrEqual(retentionDays * DAY_MS);
        }
      }),
    );
  });

  it('drops every partition once its youngest possible row is too old', () => {
    fc.assert(
      fc.property(
        month,
        span,
        days,
        fc.integer({ min: 0, max: 9 }),
        (start, months, kept, more) => {
          const upperMs = startOf(addMonths(start, months));
          expect(isExpired(upperMs, upperMs + kept * DAY_MS + more * DAY_MS, kept)).toBe(true);
          expect(isExpired(upperMs, upperMs + kept * DAY_MS - 1, kept)).toBe(false);
        },
      ),
    );
  });

  it('depends on the instant, in any time zone', () => {
    fc.assert(
      fc.property(month, days, aroundEdge, offsetMinutes, (start, kept, shift, offset) => {
        const upperMs = startOf(start);
        const nowMs = upperMs + kept * DAY_MS + shift;
        const sign = offset < 0 ? '-' : '+';
        const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
        const pad = (value: number) => String(value).padStart(2, '0');
        const local = new Date(upperMs + offset * 60_000).toISOString().slice(0, -1);
        const spelled = Date.parse(`${local}${sign}${pad(hours)}:${pad(minutes)}`);
        expect(isExpired(spelled, nowMs, kept)).toBe(isExpired(upperMs, nowMs, kept));
      }),
    );
  });

  it('keeps everything with 0 days, and a partition without an upper bound', () => {
    expect(isExpired(0, Number.MAX_SAFE_INTEGER, 0)).toBe(false);
    expect(isExpired(null, Number.MAX_SAFE_INTEGER, 1)).toBe(false);
  });
});
