import fc from 'fast-check';
import { joinMembers, memberOf, splitMembers } from './event.mapping';

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

describe('splitMembers', () => {
  it('finds every member with the exact text of its value', () => {
    fc.assert(
      fc.property(memberTexts, blank, (members, gap) => {
        const text = `${gap}{${gap}${members
          .map(([name, value, inner]) => `${inner}${name}${inner}:${inner}${value}${inner}`)
          .join(',')}${gap}}${gap}`;
        JSON.parse(text);
        expect(splitMembers(text)).toEqual(
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
        expect(splitMembers(joinMembers(split))).toEqual(split);
      }),
    );
  });

  it('resolves an escaped name but keeps its spelling', () => {
    expect(splitMembers('{"\\u0069d" : 1}')).toEqual([
      { name: 'id', nameText: '"\\u0069d"', valueText: '1' },
    ]);
  });

  it('scans a deep value without recursion', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect(splitMembers(`{"a":${deep},"b":2}`).map((member) => member.valueText.length)).toEqual([
      400_000, 1,
    ]);
  });
});

describe('memberOf', () => {
  it('escapes what JSON asks to be escaped', () => {
    expect(joinMembers([memberOf('a"b', 'c\n')])).toBe('{"a\\"b":"c\\n"}');
  });
});
