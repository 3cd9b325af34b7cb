import fc from 'fast-check';
import {
  epochHint,
  formatFineInstant,
  formatInstant,
  isEarlier,
  parseFineInstant,
  parseFineInstantOrDay,
  parseInstant,
  withoutSubmicros,
} from './instant';

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
    ['2026-11-23T10:30:00.123456001Z', 'more than microseconds'],
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
    const coarse = (text: string) => ({ micros: Date.parse(text) * 1000, submicros: '' });
    expect(parseFineInstantOrDay('2026-11-23')).toEqual(coarse('2026-11-23T00:00:00Z'));
    expect(parseFineInstantOrDay('2026-02-30')).toBeUndefined();
    expect(parseFineInstantOrDay('2026-11-23T10:30:00+01:00')).toEqual(
      coarse('2026-11-23T09:30:00Z'),
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

describe('instants to the nanosecond', () => {
  const zone = fc
    .tuple(fc.constantFrom('+', '-'), fc.nat({ max: 23 }), fc.nat({ max: 59 }))
    .map(([sign, hours, minutes]) => ({
      text: `${sign}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`,
      minutes: (sign === '-' ? -1 : 1) * (hours * 60 + minutes),
    }));
  const sent = fc
    .record({
      date: fc.date({
        min: new Date('1685-01-01'),
        max: new Date('2254-12-31'),
        noInvalidDate: true,
      }),
      digits: fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 9 }),
      zeros: fc.constantFrom('', '', '000'),
      offset: fc.option(zone),
    })
    .map(({ date, digits, zeros, offset }) => {
      const local = date.toISOString().slice(0, 19);
      const fraction = digits === '' ? '' : `.${digits}${zeros}`;
      const seconds = BigInt(Date.parse(`${local}Z`) / 1000 - (offset?.minutes ?? 0) * 60);
      return {
        text: `${local}${fraction}${offset?.text ?? 'Z'}`,
        digits,
        nanos: seconds * 1_000_000_000n + BigInt(digits.padEnd(9, '0')),
      };
    });
  const parsed = (text: string) => parseFineInstant(text) ?? { micros: NaN, submicros: '' };
  const nanosOf = (text: string) => {
    const { micros, submicros } = parsed(text);
    return BigInt(micros) * 1000n + BigInt(submicros.padEnd(3, '0'));
  };

  it('keep up to nine digits with any offset, and are written with six to nine', () => {
    fc.assert(
      fc.property(sent, ({ text, digits, nanos }) => {
        expect(nanosOf(text)).toBe(nanos);
        const written = formatFineInstant(parsed(text));
        expect(written).toMatch(/T\d\d:\d\d:\d\d\.\d{6}(\d{0,2}[1-9])?Z$/);
        expect(nanosOf(written)).toBe(nanos);
        const fraction = written.slice(written.indexOf('.') + 1, -1);
        expect(fraction).toBe(
          digits.slice(0, 6).padEnd(6, '0') + digits.slice(6).replace(/0+$/, ''),
        );
        expect(formatFineInstant(parsed(written))).toBe(written);
        expect(withoutSubmicros(written)).toBe(formatInstant(parsed(text).micros));
      }),
      { numRuns: 2000 },
    );
  });

  it('are compared as nanoseconds are', () => {
    const close = fc.tuple(sent, fc.bigInt({ min: -1500n, max: 1500n }), sent).map(
      ([one, by, other]) =>
        [
          one.nanos,
          // Mostly neighbours.
          by === 0n ? other.nanos : one.nanos + by,
        ] as const,
    );
    const instantOf = (nanos: bigint) => {
      const rest = ((nanos % 1000n) + 1000n) % 1000n;
      const submicros = String(rest).padStart(3, '0').replace(/0+$/, '');
      return { micros: Number((nanos - rest) / 1000n), submicros };
    };
    fc.assert(
      fc.property(close, ([one, other]) => {
        expect(isEarlier(instantOf(one), instantOf(other))).toBe(one < other);
        expect(isEarlier(instantOf(other), instantOf(one))).toBe(other < one);
      }),
      { numRuns: 2000 },
    );
  });

  it('have no tenth digit but zeros', () => {
    expect(parseFineInstant('2026-11-23T10:30:00.1234567891Z')).toBeUndefined();
    expect(parseFineInstant('2026-11-23T10:30:00.12345678900Z')?.submicros).toBe('789');
  });

  it.each([
    [1764000000000, '; for 1764000000000 milliseconds since 1970 send 2025-11-24T16:00:00.000Z'],
    ['1764000000', '; for 1764000000 seconds since 1970 send 2025-11-24T16:00:00.000Z'],
    [-1, '; for -1 seconds since 1970 send 1969-12-31T23:59:59.000Z'],
    ['yesterday', ''],
    [1e300, ''],
    [1.5, ''],
    [NaN, ''],
    [null, ''],
    [{}, ''],
  ])('have a hint for a count since 1970: %p', (value, hint) => {
    expect(epochHint(value)).toBe(hint);
  });
});
