import * as fc from 'fast-check';
import { compareDecimals, decimalOf, isIntegral, isMultiple } from './decimal';

/** A number as digits and a power of ten, with its text in some spelling. */
const number = fc
  .record({
    sign: fc.constantFrom('', '-'),
    whole: fc.bigInt({ min: 0n, max: 10n ** 25n }),
    fraction: fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 6 }),
    exponent: fc.integer({ min: -20, max: 20 }),
    hasExponent: fc.boolean(),
  })
  .map(({ sign, whole, fraction, exponent, hasExponent }) => {
    const shift = hasExponent ? exponent : 0;
    const text = `${sign}${whole}${fraction && `.${fraction}`}${hasExponent ? `e${exponent}` : ''}`;
    const digits = BigInt(`${whole}${fraction}`) * (sign === '-' ? -1n : 1n);
    return { text, scaled: digits * 10n ** BigInt(30 + shift - fraction.length) };
  });

const ONE = 10n ** 30n;

it('is the value of any spelling', () => {
  fc.assert(
    fc.property(number, number, (left, right) => {
      const [one, other] = [decimalOf(left.text), decimalOf(right.text)];
      const order = left.scaled < right.scaled ? -1 : left.scaled > right.scaled ? 1 : 0;
      expect(Math.sign(compareDecimals(one, other))).toBe(order);
      expect(compareDecimals(one, one)).toBe(0);
      expect(isIntegral(one)).toBe(left.scaled % ONE === 0n);
      if (right.scaled !== 0n)
        expect(isMultiple(one, other)).toBe(left.scaled % right.scaled === 0n);
    }),
    { numRuns: 2000 },
  );
});

it.each([
  ['0.07', '0.01', true],
  ['1.1', '0.1', true],
  ['9223372036854775807', '7', true],
  ['9223372036854775808', '7', false],
  ['1e400', '3e2', false],
  ['3e1000000000000', '0.03', true],
  ['1e-400', '1', false],
  ['-0', '5', true],
])('%s is a multiple of %s: %s', (value, divisor, expected) => {
  expect(isMultiple(decimalOf(value), decimalOf(divisor))).toBe(expected);
});

it('takes any number of digits and any exponent', () => {
  const long = decimalOf(`${'7'.repeat(200_000)}e-9999999999999999999999`);
  expect(compareDecimals(long, decimalOf('1'))).toBeLessThan(0);
  expect(isIntegral(long)).toBe(false);
  expect(isMultiple(decimalOf('7'.repeat(200_000)), decimalOf('7'))).toBe(true);
});
