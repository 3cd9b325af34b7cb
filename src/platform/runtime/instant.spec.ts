import fc from 'fast-check';
import { formatInstant, parseInstant, parseInstantOrDay } from './instant';

const WRITTEN = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;

/** Microseconds that a double holds exactly: 1684 to 2255. */
const exactMicros = fc.integer({ min: -9_007_199_254_740_991, max: 9_007_199_254_740_991 });

describe('instants', () => {
  it('come back as they went in, to the microsecond', () => {
    fc.assert(
      fc.property(exactMicros, (micros) => {
        expect(formatInstant(micros)).toMatch(WRITTEN);
        expect(parseInstant(formatInstant(micros))).toBe(micros);
      }),
      { numRuns: 1000 },
    );
  });

  it('sort as text as they do as numbers', () => {
    fc.assert(
      fc.property(exactMicros, exactMicros, (a, b) => {
        expect(formatInstant(a) < formatInstant(b)).toBe(a < b);
      }),
    );
  });

  it('agree with Date on every whole millisecond with any offset', () => {
    const offset = fc
      .tuple(fc.constantFrom('+', '-'), fc.nat({ max: 23 }), fc.nat({ max: 59 }))
      .map(([sign, h, m]) => `${sign}${String(h).padStart(2, '0')}:${String(m).padStart(2, '0')}`);
    const local = fc
      .date({ min: new Date('1685-01-01'), max: new Date('2254-12-31'), noInvalidDate: true })
      .map((date) => date.toISOString().slice(0, -1));
    fc.assert(
      fc.property(local, offset, (text, zone) => {
        expect(Math.floor((parseInstant(text + zone) ?? NaN) / 1000)).toBe(Date.parse(text + zone));
      }),
    );
  });

  it.each([
    ['2026-11-23T10:30:00Z', '2026-11-23T10:30:00.000000Z'],
    ['2026-11-23t10:30:00z', '2026-11-23T10:30:00.000000Z'],
    ['2026-11-23T10:30Z', '2026-11-23T10:30:00.000000Z'],
    ['2026-11-23T10:30:00.5Z', '2026-11-23T10:30:00.500000Z'],
    ['2026-11-23T10:30:00,123456Z', '2026-11-23T10:30:00.123456Z'],
    ['2026-11-23T10:30:00.123456000Z', '2026-11-23T10:30:00.123456Z'],
    ['2026-11-23T00:30:00+01:00', '2026-11-22T23:30:00.000000Z'],
    ['2026-11-23T23:30:00-0145', '2026-11-24T01:15:00.000000Z'],
    ['2026-11-23T10:30:00+01', '2026-11-23T09:30:00.000000Z'],
    ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000000Z'],
    ['1969-12-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z'],
    ['0099-01-01T00:00:00Z', '0099-01-01T00:00:00.000000Z'],
  ])('reads %s', (text, written) => {
    expect(formatInstant(parseInstant(text) ?? NaN)).toBe(written);
  });

  it.each([
    ['', 'nothing'],
    ['2026-11-23', 'no time'],
    ['2026-11-23T10:30:00', 'no offset'],
    ['2026-11-23 10:30:00Z', 'no T'],
    ['2026-02-30T00:00:00Z', 'no such day'],
    ['2025-02-29T00:00:00Z', 'no leap year'],
    ['2026-13-01T00:00:00Z', 'no such month'],
    ['2026-00-01T00:00:00Z', 'no such month'],
    ['2026-11-00T00:00:00Z', 'no such day'],
    ['2026-11-23T24:00:00Z', 'no such hour'],
    ['2026-11-23T10:60:00Z', 'no such minute'],
    ['2026-06-30T23:59:60Z', 'a leap second'],
    ['2026-11-23T10:30:00.1234567Z', 'more than microseconds'],
    ['2026-11-23T10:30:00+24:00', 'no such offset'],
    ['2026-11-23T10:30:00+01:60', 'no such offset'],
    ['2026-11-23T10:30:00.Z', 'no fraction'],
    ['+012026-11-23T10:30:00Z', 'six digits of year'],
    ['2026-11-23T10:30:00Z\n', 'a line break'],
    ['1764000000', 'a number'],
  ])('refuses "%s": %s', (text) => {
    expect(parseInstant(text)).toBeUndefined();
  });

  it('reads a day as its first moment in UTC', () => {
    expect(parseInstantOrDay('2026-11-23')).toBe(Date.parse('2026-11-23T00:00:00Z') * 1000);
    expect(parseInstantOrDay('2026-02-30')).toBeUndefined();
    expect(parseInstantOrDay('2026-11-23T10:30:00+01:00')).toBe(
      Date.parse('2026-11-23T09:30:00Z') * 1000,
    );
  });

  it('are written with four digits of year and six of fraction, beyond 2255 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9998 }), fc.nat({ max: 999_999 }), (year, fraction) => {
        const text = `${String(year).padStart(4, '0')}-07-01T23:59:59.${String(fraction).padStart(6, '0')}Z`;
        expect(formatInstant(parseInstant(text) ?? NaN)).toMatch(WRITTEN);
      }),
      { numRuns: 1000 },
    );
  });

  it.each(['0000-01-01T00:00:00Z', '0001-01-01T00:00:00+00:01', '9999-12-31T23:59:59-23:59'])(
    'outside of the years 1 to 9999 are refused, as PostgreSQL would: %s',
    (text) => {
      const micros = parseInstant(text);
      expect(micros === undefined ? undefined : formatInstant(micros)).toBeUndefined();
    },
  );
});
