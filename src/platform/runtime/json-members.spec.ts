import fc from 'fast-check';
import { elementsOf, joinMembers, memberOf, membersOf } from './json-members';

const blank = fc.constantFrom('', ' ', '\t', '  ', '\r');
const numberText = fc.constantFrom(
  '1.688560107857E9',
  '-9218868437227405312',
  '18446744073709551615',
  '-0',
  '1.0',
  '1e400',
  '0.10000000000000000000000001',
);
const stringText = fc
  .string({
    unit: fc.constantFrom('a', '"', '\\', '{', '}', '[', ']', ',', ':', 'é', '🙂', '\n', '\u0000'),
  })
  .map((text) => JSON.stringify(text));

/** JSON texts whose numbers, escapes and blanks no serialiser would write. */
const { value: valueText } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    numberText,
    stringText,
    fc.constantFrom('true', 'false', 'null', '"\\u0069d"', '{}', '[]', '"\\\\"', '"\\\\\\""'),
    fc
      .tuple(blank, fc.array(tie('value'), { maxLength: 3 }))
      .map(([gap, items]) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`),
    fc
      .tuple(blank, fc.array(fc.tuple(stringText, tie('value')), { maxLength: 3 }))
      .map(
        ([gap, items]) =>
          `{${gap}${items.map(([name, value]) => `${name}${gap}:${gap}${value}`).join(`,${gap}`)}}`,
      ),
  ),
}));
const memberTexts = fc.array(fc.tuple(stringText, valueText, blank), { maxLength: 6 });

describe('membersOf', () => {
  it('finds every member with the exact text of its value', () => {
    fc.assert(
      fc.property(memberTexts, blank, (members, gap) => {
        const text = `${gap}{${gap}${members
          .map(([name, value, inner]) => `${inner}${name}${inner}:${inner}${value}${inner}`)
          .join(',')}${gap}}${gap}`;
        JSON.parse(text);
        expect([...membersOf(text)]).toEqual(
          members.map(([name, value]) => ({
            name: JSON.parse(name),
            nameText: name,
            valueText: value,
          })),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('joins into an object that splits into the same members', () => {
    fc.assert(
      fc.property(memberTexts, (members) => {
        const split = members.map(([name, value]) => ({
          name: JSON.parse(name) as string,
          nameText: name,
          valueText: value,
        }));
        expect([...membersOf(joinMembers(split))]).toEqual(split);
      }),
    );
  });

  it('resolves an escaped name but keeps its spelling', () => {
    expect([...membersOf('{"\\u0069d" : 1}')]).toEqual([
      { name: 'id', nameText: '"\\u0069d"', valueText: '1' },
    ]);
  });

  it('scans a deep value without recursion', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect([...membersOf(`{"a":${deep},"b":2}`)].map((member) => member.valueText.length)).toEqual([
      400_000, 1,
    ]);
  });
});

describe('memberOf', () => {
  it('escapes what JSON asks to be escaped', () => {
    expect(joinMembers([memberOf('a"b', 'c\n')])).toBe('{"a\\"b":"c\\n"}');
  });
});

describe('elementsOf', () => {
  it('finds every element with its exact text', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(valueText, blank), { maxLength: 6 }), blank, (values, gap) => {
        const elements = values.map(([value, inner]) => `${inner}${value}${inner}`);
        const text = `${gap}[${gap}${elements.join(',')}${gap}]${gap}`;
        expect([...elementsOf(text)]).toEqual(values.map(([value]) => value));
      }),
      { numRuns: 500 },
    );
  });
});

describe('a text that is not well-formed', () => {
  const isWellFormed = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };

  /** As a reader that parses each value would take it. */
  const isAccepted = (text: string): boolean => {
    try {
      if (text.trimStart().startsWith('[')) for (const one of elementsOf(text)) JSON.parse(one);
      else for (const { valueText: one } of membersOf(text)) JSON.parse(one);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(SyntaxError);
      return false;
    }
  };

  it.each([
    ...[
      '',
      ' ',
      '{',
      '[',
      '[1',
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,}',
      '[1,]',
      '[,]',
      '{,}',
      '[1 2]',
    ],
    ...[
      '{"a":1 "b":2}',
      '{a:1}',
      '{"a" 1}',
      '{"a":1}}',
      '[1]]',
      '[1}',
      '{"a":1]',
      '[1] 2',
      '\u00a0[1]',
    ],
    ...[
      '[1\u00a0]',
      '{"a":\u0001 1}',
      '{"a":1}\u00a0',
      '{"a\n":1}',
      '[1,,2]',
      '{"a":}',
      '{:1}',
      '1',
    ],
  ])('is refused: %j', (text) => {
    expect(isAccepted(text)).toBe(false);
  });

  it('is refused wherever JSON.parse refuses it, and only there', () => {
    const character = fc.constantFrom(...'{}[]:,"\\ 1a\n\u00a0');
    const text = fc
      .tuple(fc.constantFrom('{', '['), fc.string({ unit: character, maxLength: 12 }))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (one) => {
        expect(isAccepted(one)).toBe(isWellFormed(one));
      }),
      { numRuns: 20_000 },
    );
  });
});
