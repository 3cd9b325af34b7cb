import fc from 'fast-check';
import { elementsOf, memberOf, membersOf, pretty } from '../../packages/viewer/src/exact-json';

/** JSON with spaces anywhere. */
const texts = fc
  .tuple(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t', ' \n'))
  .map(([value, indent]) => JSON.stringify(value, null, indent));

describe('JSON as text', () => {
  it('is laid out without another change', () => {
    fc.assert(
      fc.property(texts, (text) => {
        expect(pretty(text)).toBe(JSON.stringify(JSON.parse(text), null, 2));
      }),
    );
  });

  it('keeps every digit, which a double would round', () => {
    const text = '{"a":9223372036854775807,"b":[1.10,1E400,-0,5e-324000],"c":"\\u00e9\\/"}';
    expect(pretty(text).replace(/\s/g, '')).toBe(text);
  });

  it('names members with the texts of their values', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const found = membersOf(JSON.stringify(value, null, 1));
        expect(found.map(([name, text]) => [name, JSON.parse(text)])).toEqual(
          Object.entries(JSON.parse(JSON.stringify(value)) as object),
        );
      }),
    );
  });

  it('splits arrays', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (value) => {
        const elements = elementsOf(JSON.stringify(value, null, 1)).map((one) => JSON.parse(one));
        expect(elements).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('finds a member of an object, and none of another value', () => {
    expect(memberOf('{"a":{"b":1},"b":1.50}', 'b')).toBe('1.50');
    expect(memberOf('{"a":{"b":1}}', 'b')).toBeUndefined();
    for (const text of ['', '[]', 'null', '"b"']) expect(memberOf(text, 'b')).toBeUndefined();
  });

  it('ends with a text that is cut', () => {
    const whole = '{"a":["\\"",{"b":12}],"c":"d"}';
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => [
        pretty(whole.slice(0, length)),
        elementsOf(whole.slice(5, length)),
      ]).not.toThrow();
    }
  });
});
