import 'reflect-metadata';
import fc from 'fast-check';
import {
  coerceQuery,
  QueryFlag,
  QueryInteger,
  QueryList,
  QueryText,
  splitList,
} from './query-coercion';

class Base {
  @QueryText()
  word?: string;

  @QueryInteger()
  limit?: number;
}

class Query extends Base {
  @QueryFlag()
  flag?: boolean;

  @QueryList()
  names?: string[];
}

const coerce = (query: Record<string, unknown>) => coerceQuery(Query, query);

describe('query parameters', () => {
  it('become values of the type of their member, inherited ones too', () => {
    expect(coerce({ word: ' a ', limit: '-12', flag: 'true', names: 'a,b' })).toEqual({
      value: { word: ' a ', limit: -12, flag: true, names: ['a', 'b'] },
      errors: [],
    });
    expect(coerceQuery(Base, { flag: 'true' }).errors).toHaveLength(1);
  });

  it.each(['1e3', ' 1', '1 ', '+1', '0x10', '1.0', '1_000', '١', '--1', '9'.repeat(16), 'NaN'])(
    'stay text, for the rules to refuse, when they are no plain integer: %j',
    (text) => expect(coerce({ limit: text }).value.limit).toBe(text),
  );

  it.each(['TRUE', '1', 'yes', 'on'])('are no flag when they are %s', (text) => {
    expect(coerce({ flag: text }).value.flag).toBe(text);
  });

  it('are faults when unknown, repeated or empty', () => {
    const { value, errors } = coerce({ Word: 'a', word: ['a', 'b'], names: '', limit: { a: '1' } });
    expect(value).toEqual({});
    expect(errors.map(({ path }) => path)).toEqual(['Word', 'word', 'names', 'limit']);
    expect(errors[0]?.message).toBe('is not a known parameter; allowed: word, limit, flag, names');
  });

  it('never become an answer of any length', () => {
    const many = Object.fromEntries(
      Array.from({ length: 900 }, (_, n) => [`${n}${'x'.repeat(999)}`, 'a']),
    );
    const { errors } = coerce(many);
    expect(errors.length).toBeLessThanOrEqual(50);
    expect(Math.max(...errors.map(({ path }) => path.length))).toBeLessThan(110);
  });

  it('that are lists may be repeated, each value an element as it is', () => {
    expect(coerce({ names: ['a', 'b,c', 'd\\,e', ''] })).toEqual({
      value: { names: ['a', 'b,c', 'd\\,e', ''] },
      errors: [],
    });
  });

  it.each(['names[]', 'names[0]'])('called %s are told to be without brackets', (name) => {
    expect(coerce({ [name]: 'a' }).errors[0]?.message).toContain('repeat names without brackets');
    expect(coerce({ 'limit[]': '1' }).errors[0]?.message).toContain('allowed: word, limit');
  });

  it('called like what every object has are unknown', () => {
    expect(coerce({ constructor: 'a', __proto__x: 'b', toString: 'c' }).errors).toHaveLength(3);
  });
});

describe('a list', () => {
  it.each([
    ['a,b', ['a', 'b']],
    ['a\\,b', ['a,b']],
    ['a\\\\,b', ['a\\', 'b']],
    ['a\\\\\\,b', ['a\\,b']],
    ['CORP\\alice,CORP\\bob', ['CORP\\alice', 'CORP\\bob']],
    ['a,', ['a', '']],
    ['', ['']],
    ['a\\', ['a\\']],
  ])('%j is %j', (text, elements) => expect(splitList(text)).toEqual(elements));

  it('gives back any elements that were written for it', () => {
    const element = fc.string({ unit: fc.constantFrom('a', '\\', ',', 'é', ' ') });
    // A backslash at the end would stand before the comma that follows.
    const written = (text: string, isLast: boolean) =>
      text
        .replace(/(\\*),/g, (_, before: string) => `${before}${before}\\,`)
        .replace(/\\+$/, (end) => (isLast ? end : end + end));
    fc.assert(
      fc.property(fc.array(element, { minLength: 1, maxLength: 5 }), (elements) => {
        const last = elements.length - 1;
        const list = elements.map((text, index) => written(text, index === last)).join(',');
        expect(splitList(list)).toEqual(elements);
      }),
      { numRuns: 1000 },
    );
  });
});
