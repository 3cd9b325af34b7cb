import fc from 'fast-check';
import {
  differenceOf,
  exactNumber,
  exactText,
  parseExact,
} from '../../scripts/load/exact-json.mjs';

describe('JSON with exact numbers', () => {
  it.each([
    '{"a":9223372036854775807,"b":1.10,"c":-1E400,"d":[0,-0.0,1e-7]}',
    '{"text":"1.10 and \\"2\\" and \\\\","empty":"","n":null,"t":true}',
    '[]',
    '3',
  ])('comes back with its digits: %s', (text) => {
    expect(exactText(parseExact(text))).toBe(text);
  });

  it('comes back whatever it is', () => {
    const value = fc.jsonValue({ noUnicodeString: false }).filter((one) => {
      return !JSON.stringify(one).includes('\\u0000'); // which events cannot hold
    });
    fc.assert(
      fc.property(value, (one) => {
        expect(exactText(parseExact(JSON.stringify(one)))).toBe(JSON.stringify(one));
      }),
    );
  });

  it.each(['{"a":01}', '{1:2}', '{"a":1', '1.10.2', ''])('refuses %s', (text) => {
    expect(() => parseExact(text)).toThrow(SyntaxError);
  });

  it.each([
    [{ a: exactNumber('1.10') }, '{"a":1.1}', 'a is 1.1, and 1.10 was expected'],
    [{ a: exactNumber('1') }, '{"a":"1"}', 'a is "1", and 1 was expected'],
    [{ a: null }, '{}', 'a is absent, and null was expected'],
    [{ a: { b: 'x' } }, '{"a":{"b":"y"}}', 'a.b is "y", and "x" was expected'],
    [{ a: { b: 'x' } }, '{"a":{"b":"x","c":1}}', 'a.c was not expected'],
    [{ a: ['x', 'y'] }, '{"a":["x"]}', 'a.1 is absent, and "y" was expected'],
    [{ a: ['x'] }, '{"a":["x","y"]}', 'a.1 was not expected'],
    [{ a: { b: 'x' } }, '{"a":null}', 'a is null, and {"b":"x"} was expected'],
  ])('%j differs from %s', (expected, received, difference) => {
    expect(differenceOf(expected, parseExact(received))).toBe(difference);
  });

  it('has no difference in the order of members, or in further ones', () => {
    const expected = { a: exactNumber('1'), b: { c: 'x', d: 'y' } };
    const received = parseExact('{"sequence":"7","b":{"d":"y","c":"x"},"a":1}');
    expect(differenceOf(expected, received)).toBeUndefined();
  });
});
