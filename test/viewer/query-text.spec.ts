import fc from 'fast-check';
import {
  completionAt,
  faultPlace,
  QUALIFIERS,
  tokensOf,
  withoutQualifiers,
  withoutToken,
  withQualifier,
  WORDS,
} from '../../packages/viewer/src/query-text';
import { parseEventQuery } from '../../src/audit/event/event-query';
import { parseValueTerm } from '../../src/audit/event/value-terms';
import { NAUGHTY_STRINGS } from '../support/naughty-strings';

const values = fc.oneof(
  fc.constantFrom(...NAUGHTY_STRINGS),
  fc.string({ unit: 'binary', minLength: 1 }),
);

describe('the text of a query', () => {
  it('stands for a value itself, whatever it is, as the service reads it', () => {
    fc.assert(
      fc.property(values, fc.boolean(), (value, isNegated) => {
        const { filter } = parseEventQuery(withQualifier('', 'actor', value, isNegated));
        const [term = ''] = filter.principalIds ?? [];
        expect(parseValueTerm(term)).toEqual({ isNegated, kind: 'equal', value });
      }),
    );
  });

  it('is read as the service reads it', () => {
    const parts = fc.constantFrom(
      'refund',
      '"two words"',
      'actor:alice',
      '-status:success',
      'ip:::1',
      'action:a,b*',
      'metadata.a.b:"x y"',
    );
    fc.assert(
      fc.property(
        fc.array(parts, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(' ', '  ', '\n'),
        (all, space) => {
          const text = all.join(space);
          const tokens = tokensOf(text);
          expect(tokens.map(({ start, end }) => text.slice(start, end))).toEqual(all);
          const { texts } = parseEventQuery(text);
          expect(
            tokens.filter(({ qualifier }) => qualifier === undefined).map(({ value }) => value),
          ).toEqual(texts.map(({ text: one }) => one));
        },
      ),
    );
  });

  it('loses a token that is taken away, and no other', () => {
    const text = 'actor:"a b" -status:success  refund';
    const [first, second, third] = tokensOf(text);
    expect(first && withoutToken(text, first)).toBe('-status:success  refund');
    expect(second && withoutToken(text, second)).toBe('actor:"a b" refund');
    expect(third && withoutToken(text, third)).toBe('actor:"a b" -status:success');
    expect(withoutQualifiers(text, ['status'])).toBe('actor:"a b" refund');
    expect(withQualifier(text, 'actor', 'a b')).toBe(text);
  });

  it('has qualifiers and words that the service knows', () => {
    for (const name of QUALIFIERS) {
      const value =
        name === 'after' || name === 'before' ? '2026-11-30' : (WORDS[name]?.[0] ?? 'x');
      const qualifier = name.endsWith('.') ? `${name}path` : name;
      expect(() => parseEventQuery(`${qualifier}:${value}`)).not.toThrow();
    }
    for (const [name, words] of Object.entries(WORDS)) {
      for (const word of words) expect(() => parseEventQuery(`${name}:${word}`)).not.toThrow();
      expect(() => parseEventQuery(`${name}:other`)).toThrow();
    }
  });

  it.each([
    ['', 0, { kind: 'qualifier', prefix: '' }],
    ['act', 3, { kind: 'qualifier', prefix: 'act', start: 0, end: 3 }],
    ['-sta', 4, { kind: 'qualifier', prefix: 'sta', start: 1 }],
    ['x status:fa', 11, { kind: 'value', qualifier: 'status', prefix: 'fa', start: 9, end: 11 }],
    ['status:failure,su', 17, { kind: 'value', prefix: 'su', start: 15, end: 17 }],
    ['status:failure,su', 9, { kind: 'value', prefix: 'fa', start: 7, end: 14 }],
    ['actor:"a b', 10, { kind: 'value', prefix: 'a b', start: 6, end: 10 }],
  ])('completes %j at %d', (text, caret, expected) => {
    expect(completionAt(text, caret)).toMatchObject(expected);
  });

  it('finds the place of a fault by characters, as the service counts them', () => {
    for (const before of ['', 'abc ', '👍🏽👍🏽 abc ', 'Åé𝒳x ']) {
      const text = `${before}"open`;
      let message = '';
      try {
        parseEventQuery(text);
      } catch (error) {
        message = (error as Error).message;
      }
      expect(faultPlace(text, `q ${message}`)).toBe(before.length);
    }
    expect(faultPlace('x', 'is too long')).toBeUndefined();
  });
});
