import fc from 'fast-check';
import { matchesEtag, readPolicyOf } from './cache-control';
import { DEFAULT_READ_POLICY } from './response-cache';
import { growthOf, LINEAR_GROWTH } from '../../test/support/growth';

function policyOf(cacheControl: string) {
  return readPolicyOf({ 'cache-control': cacheControl });
}

const NOTHING = { noCache: false, noStore: false };
/** Node's limit for all headers together. */
const HEADER_LIMIT = 16_384;

/** Expects the time to grow in proportion to the text. */
function expectLinear(start: string, repeated: string, work: (text: string) => void): void {
  const make = (size: number) => `${(start + repeated.repeat(size)).slice(0, size)}x`;
  expect(growthOf(HEADER_LIMIT, make, work)).toBeLessThan(LINEAR_GROWTH);
}

describe('readPolicyOf', () => {
  it('returns the same object for all requests without directives', () => {
    expect(readPolicyOf({})).toBe(DEFAULT_READ_POLICY);
    expect(readPolicyOf({ pragma: 'x' })).toBe(DEFAULT_READ_POLICY);
    expect(DEFAULT_READ_POLICY).toEqual(NOTHING);
    expect(Object.isFrozen(DEFAULT_READ_POLICY)).toBe(true);
  });

  it.each([
    ['no-cache', { noCache: true, noStore: false }],
    ['No-Cache', { noCache: true, noStore: false }],
    ['no-store', { noCache: false, noStore: true }],
    ['NO-STORE,\tno-cache', { noCache: true, noStore: true }],
    ['max-age=60', { ...NOTHING, maxAgeSeconds: 60 }],
    ['max-age="60"', { ...NOTHING, maxAgeSeconds: 60 }],
    ['max-stale', { ...NOTHING, maxStaleSeconds: Infinity }],
    ['Max-Stale=30 , max-age=5', { ...NOTHING, maxStaleSeconds: 30, maxAgeSeconds: 5 }],
    // Joined by Node from several headers.
    ['max-stale=30, no-store', { noCache: false, noStore: true, maxStaleSeconds: 30 }],
    [', ,max-age=7,,', { ...NOTHING, maxAgeSeconds: 7 }],
  ])('understands %j', (text, policy) => {
    expect(policyOf(text)).toEqual(policy);
  });

  it('treats max-age=0 as no-cache, unless stale responses are accepted', () => {
    expect(policyOf('max-age=0')).toMatchObject({ noCache: true });
    expect(policyOf('max-age=0, max-stale=0')).toMatchObject({ noCache: true });
    expect(policyOf('max-age=0, max-stale=9')).toMatchObject({
      noCache: false,
      maxStaleSeconds: 9,
    });
  });

  it.each([
    '',
    'only-if-cached',
    'x="no-store, no-cache"',
    'x="\\", no-cache"',
    'no-cachex',
    '=no-cache',
    'x=no-store',
  ])('finds no wish in %j', (text) => {
    expect(policyOf(text)).toEqual(NOTHING);
  });

  it.each([
    'max-age',
    'max-age=',
    'max-age=-1',
    'max-age=1.5',
    'max-age=x',
    'max-age="9',
    'max-age=9 9',
  ])('takes the broken %j for the strictest', (text) => {
    expect(policyOf(text)).toEqual({ noCache: true, noStore: false, maxAgeSeconds: 0 });
  });

  it('accepts nothing stale by an invalid number', () => {
    for (const text of ['max-stale=x', 'max-stale=', 'max-stale=-5', 'max-stale="7']) {
      expect(policyOf(text).maxStaleSeconds).toBe(0);
    }
  });

  it('obeys the strictest of several directives', () => {
    expect(policyOf('max-age=5, max-age=9, max-stale=3, max-stale')).toMatchObject({
      maxAgeSeconds: 5,
      maxStaleSeconds: 3,
    });
  });

  it('treats seconds beyond 2^31 as 2^31', () => {
    for (const digits of ['2147483649', '9'.repeat(20), '9'.repeat(400)]) {
      expect(policyOf(`max-age=${digits}`)).toEqual({ ...NOTHING, maxAgeSeconds: 2 ** 31 });
    }
  });

  it('obeys Pragma only without Cache-Control', () => {
    expect(readPolicyOf({ pragma: 'No-Cache, x' })).toEqual({ noCache: true, noStore: false });
    expect(readPolicyOf({ pragma: 'no-store' })).toEqual(NOTHING);
    expect(readPolicyOf({ pragma: 'no-cache', 'cache-control': 'max-age=5' })).toEqual({
      ...NOTHING,
      maxAgeSeconds: 5,
    });
  });

  it('finds a directive among any others, in any order', () => {
    const other = fc.oneof(
      fc.stringMatching(/^x[a-z]{0,5}(=[a-z0-9]{0,4})?$/),
      fc.stringMatching(/^x="([a-z, =]|\\["\\]){0,8}"$/),
    );
    fc.assert(
      fc.property(fc.array(other), fc.array(other), (before, after) => {
        expect(policyOf([...before, 'no-store', ...after].join(', '))).toEqual({
          noCache: false,
          noStore: true,
        });
      }),
    );
  });

  it.each([
    ['"', '\\"'],
    ['a="', '\\"'],
    ['', 'a="'],
    ['', 'a="\\",'],
    ['a', ' '],
    ['', ' ,'],
    ['max-age="', '1'],
    ['', '"'],
  ])('takes a text made of %j and many %j in its stride', (start, repeated) => {
    expectLinear(start, repeated, policyOf);
  });
});

describe('matchesEtag', () => {
  const TAG = '"abc"';

  it.each([
    '"abc"',
    'W/"abc"',
    '*',
    ' * ',
    '"x", "abc"',
    '"x","abc","y"',
    ' "x" ,\tW/"abc" ',
    ',, "abc"',
    '"a,b", "abc"',
    '"*", "abc"',
  ])('finds the tag in %j', (header) => {
    expect(matchesEtag(header, TAG)).toBe(true);
  });

  it.each([
    undefined,
    '',
    ' ',
    ',',
    'abc',
    '"abc',
    'abc"',
    '"x"',
    '"*"',
    'w/"abc"',
    'W/ "abc"',
    '"ABC"',
    '"x" "abc"',
    'x"abc"',
    '"abc"x',
    'junk, "abc"',
    '*, "abc"',
    '"x, "abc"',
    '"x,"abc""',
  ])('does not find it in %j', (header) => {
    expect(matchesEtag(header, TAG)).toBe(false);
  });

  it('compares weakly when either tag is weak', () => {
    expect(matchesEtag('"abc"', 'W/"abc"')).toBe(true);
    expect(matchesEtag('"x", W/"abc"', 'W/"abc"')).toBe(true);
  });

  it('returns the same result again', () => {
    for (let count = 0; count < 3; count += 1) {
      expect(matchesEtag('"x", "abc", "y"', TAG)).toBe(true);
      expect(matchesEtag('"x", junk', TAG)).toBe(false);
    }
  });

  it('finds exactly the tags that a list has', () => {
    const tag = fc.stringMatching(/^[!#-~]{0,5}$/).map((text) => `"${text}"`);
    const listed = fc.tuple(fc.constantFrom('', 'W/'), tag);
    const comma = fc.constantFrom(',', ', ', ' ,\t', ',,');
    fc.assert(
      fc.property(fc.array(listed), comma, tag, (list, separator, wanted) => {
        const header = list.map(([weak, text]) => weak + text).join(separator);
        expect(matchesEtag(header, wanted)).toBe(list.some(([, text]) => text === wanted));
      }),
    );
  });

  it.each([
    ['', '"'],
    ['"', 'a'],
    ['', ' '],
    ['', '"a",'],
    ['', ' "a" '],
    ['"a"', ' '],
    ['', ','],
    ['', 'W/'],
  ])('takes a text made of %j and many %j in its stride', (start, repeated) => {
    expectLinear(start, repeated, (text) => matchesEtag(text, TAG));
  });
});
