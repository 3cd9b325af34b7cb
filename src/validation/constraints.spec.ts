import { parseExactJson } from '../platform/runtime/lossless-json';
import { flag, integer, jsonObject, list, memberPath, oneOf, text, uuid } from './constraints';

describe('the rule of text', () => {
  it('counts characters, not code units', () => {
    expect(text(3)('😀😀😀')).toBeUndefined();
    expect(text(3)('😀😀😀😀')).toBe('must be text of at most 3 characters');
    expect(text(3)('abcd')).toBeDefined();
    expect(text(255)('x'.repeat(255))).toBeUndefined();
    expect(text(255)('x'.repeat(256))).toBeDefined();
    expect(text(255)('😀'.repeat(255))).toBeUndefined();
  });

  it('wants as many characters as it says', () => {
    expect(text(3, 1)('')).toBe('must be text of 1 to 3 characters');
    expect(text(3)('')).toBeUndefined();
  });

  it('refuses what PostgreSQL or UTF-8 cannot hold', () => {
    expect(text(9)('a\0b')).toMatch(/NUL/);
    expect(text(9)('\ud800')).toMatch(/surrogate/);
    expect(text(9)('\udc00\ud800')).toMatch(/surrogate/);
    expect(text(9)('\u0001\u007f\ufffe\u202e')).toBeUndefined();
  });

  it.each([[1], [true], [null], [{}], [['a']], [new String('a')]])('refuses %p', (value) => {
    expect(text(9)(value)).toBeDefined();
  });
});

describe('the rule of a UUID', () => {
  it.each(['0198c1f2-3e4a-7000-8000-1234567890ab', 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'])(
    'takes %s',
    (value) => expect(uuid(value)).toBeUndefined(),
  );
  it.each([
    '',
    '0198c1f23e4a700080001234567890ab',
    '{0198c1f2-3e4a-7000-8000-1234567890ab}',
    '0198c1f2-3e4a-7000-8000-1234567890ab\n',
    'g198c1f2-3e4a-7000-8000-1234567890ab',
    7,
  ])('refuses %j', (value) => expect(uuid(value)).toBeDefined());
});

describe('the other rules', () => {
  it('do not speak of bounds that nobody meets', () => {
    expect(list(1)([])).toBe('must be an array of at least 1 element');
    expect(list(2)([])).toBe('must be an array of at least 2 elements');
    expect(list(1)([1])).toBeUndefined();
    expect(integer(0, Number.MAX_SAFE_INTEGER)(-1)).toBe('must be a whole number of at least 0');
  });

  it('take whole numbers in their range only', () => {
    expect([1, 5].map(integer(1, 5))).toEqual([undefined, undefined]);
    for (const value of [0, 6, 1.5, '1', NaN, Infinity, null]) {
      expect(integer(1, 5)(value)).toBe('must be a whole number from 1 to 5');
    }
  });

  it('take a word in exactly its spelling', () => {
    expect(oneOf(['a', 'b'])('a')).toBeUndefined();
    for (const value of ['A', 'a ', '', null, ['a']]) {
      expect(oneOf(['a', 'b'])(value)).toBe('must be one of a, b');
    }
  });

  it('take true and false, and lists of their length', () => {
    expect([true, false].map(flag)).toEqual([undefined, undefined]);
    expect(flag('true')).toBeDefined();
    expect(list(1, 2)([1])).toBeUndefined();
    expect([[], [1, 2, 3], 'ab', { length: 1 }].map(list(1, 2)).every(Boolean)).toBe(true);
  });
});

describe('the rule of a JSON object', () => {
  const nest = (depth: number): unknown => (depth === 1 ? {} : { a: nest(depth - 1) });

  it('takes as many levels as it says, arrays too', () => {
    const rule = jsonObject(10_000, 32);
    expect(rule(nest(32))).toBeUndefined();
    expect(rule(nest(33))).toEqual({
      at: '.a'.repeat(32),
      message: 'is nested too deeply: at most 32 levels',
    });
    expect(jsonObject(100, 2)({ a: [1, [2]] })).toEqual({
      at: '.a[1]',
      message: 'is nested too deeply: at most 2 levels',
    });
    expect(jsonObject(100, 2)({ a: [1, 'x'], b: {} })).toBeUndefined();
  });

  it('takes as many bytes of UTF-8 as it says, minified, numbers as they came', () => {
    expect(jsonObject(9, 9)({ a: 'é' })).toBe('must be at most 9 bytes of JSON, not 10');
    expect(jsonObject(10, 9)({ a: 'é' })).toBeUndefined();
    const digits = parseExactJson('{ "a": 10000000000000000000000 }');
    expect(jsonObject(29, 9)(digits)).toBeUndefined();
    expect(jsonObject(28, 9)(digits)).toMatch(/not 29/);
  });

  it('names the place of text that cannot be stored', () => {
    expect(jsonObject(99, 9)({ tags: [{ 'odd name': 'a\0' }] })).toMatchObject({
      at: '.tags[0]["odd name"]',
      message: expect.stringContaining('NUL') as string,
    });
    expect(jsonObject(99, 9)({ a: { '\ud800': 1 } })).toMatchObject({
      message: expect.stringContaining('(its name)') as string,
    });
  });

  it.each([[null], [[]], ['{}'], [1], [undefined]])('refuses %j', (value) => {
    expect(jsonObject(99, 9)(value)).toBe('must be a JSON object');
  });

  it('does not run out of stack on a very deep value', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`) as unknown;
    expect(jsonObject(1_000_000, 32)(deep)).toMatchObject({
      message: 'is nested too deeply: at most 32 levels',
    });
  });
});

describe('a path', () => {
  it('is written so that it can be read', () => {
    expect(memberPath('name')).toBe('.name');
    expect(memberPath('odd "name"')).toBe('["odd \\"name\\""]');
    expect(memberPath('')).toBe('[""]');
    expect(memberPath('x'.repeat(1000)).length).toBeLessThan(80);
  });
});
