/**
 * Numbers of JSON as their decimal value, which a double would change: 9223372036854775807 is its own number here, not
 * …5808, and 0.07 is a multiple of 0.01. All functions take linear time, whatever the digits and exponents.
 */
export interface Decimal {
  isNegative: boolean;
  /** Digits without zeros at either end; empty for zero. */
  digits: string;
  /** Power of ten of the last digit; 0 for zero. Infinite beyond 10^15 digits. */
  exponent: number;
}

const FORM = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
/** Digits per step of a remainder: products of such chunks stay exact. */
const CHUNK_DIGITS = 15;

/** The value of a JSON number. */
export function decimalOf(text: string): Decimal {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = FORM.exec(text) ?? [];
  const all = `${whole}${fraction}`;
  let [start, end] = [0, all.length];
  while (start < end && all[start] === '0') start += 1;
  while (end > start && all[end - 1] === '0') end -= 1;
  if (start === end) return { isNegative: false, digits: '', exponent: 0 };
  return {
    isNegative: sign === '-',
    digits: all.slice(start, end),
    exponent: Number(exponent) - fraction.length + (all.length - end),
  };
}

/** The value of a finite double in its shortest spelling, which is that of JSON. */
export function decimalOfDouble(value: number): Decimal {
  return decimalOf(String(value));
}

/** Negative, zero or positive as `left` is less than, equal to or greater than `right`. */
export function compareDecimals(left: Decimal, right: Decimal): number {
  const [leftSign, rightSign] = [signOf(left), signOf(right)];
  if (leftSign !== rightSign) return leftSign - rightSign;
  return leftSign < 0 ? compareMagnitudes(right, left) : compareMagnitudes(left, right);
}

export function isIntegral({ exponent }: Decimal): boolean {
  return exponent >= 0;
}

/** True when `value` is `divisor` times a whole number. */
export function isMultiple(value: Decimal, divisor: Decimal): boolean {
  if (value.digits === '') return true;
  const shift = value.exponent - divisor.exponent;
  // Digits that end in no zero are no multiple of ten.
  if (shift < 0) return false;
  const modulus = BigInt(divisor.digits);
  // Beyond so many tens the product has every factor of two and five that the divisor could have.
  const tens = BigInt(Math.min(shift, 4 * divisor.digits.length));
  return (remainder(value.digits, modulus) * 10n ** tens) % modulus === 0n;
}

function signOf({ isNegative, digits }: Decimal): number {
  if (digits === '') return 0;
  return isNegative ? -1 : 1;
}

function compareMagnitudes(left: Decimal, right: Decimal): number {
  const order = (one: Decimal) => one.digits.length + one.exponent;
  const [leftOrder, rightOrder] = [order(left), order(right)];
  if (leftOrder !== rightOrder) return leftOrder < rightOrder ? -1 : 1;
  if (left.digits === right.digits) return 0;
  return left.digits < right.digits ? -1 : 1;
}

function remainder(digits: string, modulus: bigint): bigint {
  let rest = 0n;
  for (let at = 0; at < digits.length; at += CHUNK_DIGITS) {
    const chunk = digits.slice(at, at + CHUNK_DIGITS);
    rest = (rest * 10n ** BigInt(chunk.length) + BigInt(chunk)) % modulus;
  }
  return rest;
}
