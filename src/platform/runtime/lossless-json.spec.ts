import fc from 'fast-check';
import {
  JsonText,
  JsonTexts,
  UnacceptableJsonError,
  exactJsonText,
  keepExactMembers,
  parseExactJson,
  parseJsonWithPlaceholders,
  restoreNumbers,
} from './lossless-json';

/** A number literal in any spelling JSON allows. */
const numberText = fc.oneof(
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => JSON.stringify(n)),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.nat({ max: 999_999 }),
      fc.stringMatching(/^[0-9]{0,20}$/),
      fc.stringMatching(/^([eE][+-]?[0-9]{1,3})?$/),
    )
    .map(([sign, whole, part, exponent]) => `${sign}${whole}${part && `.${part}`}${exponent}`),
);
const stringText = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('1e5', ' -0', '"', '\\', '\\"1.0,', '9'.repeat(20)),
  )
  .map((text) => JSON.stringify(text));

/** JSON text built from the outside, minified, with distinct keys in the order that a parser keeps. */
const jsonText = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    numberText,
    stringText,
    fc.constantFrom('null', 'true', 'false'),
    fc.array(tie('value'), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
    tie('object'),
  ),
  object: fc
    .array(tie('value'), { maxLength: 5 })
    .map((items) => `{${items.map((item, index) => `"k${index}":${item}`).join(',')}}`),
}));

describe('keepExactMembers', () => {
  const NUMBERS = '[1.0,1E3,-0,9223372036854775807]';

  it.each([
    ['an object', `{"any":{"a":${NUMBERS}}}`, ['any'], `{"a":${NUMBERS}}`],
    ['metadata itself', `{"metadata":{"a":${NUMBERS}}}`, ['metadata'], `{"a":${NUMBERS}}`],
    [
      'the metadata of what is named so',
      `{"metadata":{"x":1,"metadata":{"a":${NUMBERS}}}}`,
      ['metadata', 'metadata'],
      `{"a":${NUMBERS}}`,
    ],
    [
      'the metadata of one in a list that is named so',
      `{"metadata":[{"metadata":{"a":${NUMBERS}}}]}`,
      ['metadata', '0', 'metadata'],
      `{"a":${NUMBERS}}`,
    ],
    ['a list', `{"any":${NUMBERS}}`, ['any'], NUMBERS],
    ['changes', `{"event":{"changes":[{"old":1.0}]}}`, ['event', 'changes'], '[{"old":1.0}]'],
  ])('keeps the text of numbers of %s', (_, variables, path, text) => {
    const request = parseExactJson(`{"query":"","variables":${variables}}`) as object;
    keepExactMembers(request, 'variables');
    const value = ['variables', ...path].reduce<unknown>(
      (inner, name) => (inner as Record<string, unknown>)[name],
      request,
    );
    expect(exactJsonText(value as object)).toBe(text);
  });
});

describe('exact JSON', () => {
  it('gives back every number as it was written, in any nesting', () => {
    fc.assert(
      fc.property(jsonText.object, (text) => {
        expect(exactJsonText(parseExactJson(text) as object)).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  it('reads the same values as JSON.parse', () => {
    fc.assert(
      fc.property(jsonText.value, (text) => {
        expect(parseExactJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('drops white space between tokens and keeps numbers next to it', () => {
    const value = parseExactJson('{ "a" : 1.0 ,\r\n\t"b":[ 1e400 , -0 ] }') as object;
    expect(exactJsonText(value)).toBe('{"a":1.0,"b":[1e400,-0]}');
  });

  it('keeps a member called __proto__', () => {
    const text = '{"__proto__":{"x":12345678901234567890},"constructor":1.50}';
    expect(exactJsonText(parseExactJson(text) as object)).toBe(text);
  });

  it('is not fooled by strings that look like its mark', () => {
    const text = JSON.stringify({ a: '\u0000abc1e5', b: '\\u0000' }).replace('}', ',"c":1e5}');
    expect(exactJsonText(parseExactJson(text) as object)).toBe(text);
  });

  it('survives ten megabytes of escapes, digits or nesting', () => {
    const escapes = JSON.stringify({ a: '"\\'.repeat(2_500_000), b: 0 }).replace(':0}', ':1e5}');
    expect(exactJsonText(parseExactJson(escapes) as object) === escapes).toBe(true);
    const digits = `{"a":${'9'.repeat(10_000_000)}}`;
    expect(exactJsonText(parseExactJson(digits) as object) === digits).toBe(true);
    const deep = `${'['.repeat(1_000_000)}1e5${']'.repeat(1_000_000)}`;
    expect(() => parseExactJson(deep)).toThrow(UnacceptableJsonError);
    expect(() => parseExactJson(`[${'-0,'.repeat(600_000)}1]`)).toThrow(UnacceptableJsonError);
  });
});

describe('members named twice', () => {
  it.each(['{"a":1,"a":2}', '[{"b":[{"a":{},"\\u0061":{}}]}]', '{"":0, "" :0}'])(
    'are refused: %s',
    (text) => {
      expect(() => parseExactJson(text)).toThrow(UnacceptableJsonError);
    },
  );

  it('are told from strings that look like members', () => {
    for (const text of ['["a:",":","\\":"]', '{"a":"b\\":c","c":":"}', '{"1":1,"01":1}']) {
      expect(parseExactJson(text)).toEqual(JSON.parse(text));
    }
  });
});

describe('marked JSON', () => {
  it('keeps every number inside a larger text', () => {
    fc.assert(
      fc.property(jsonText.object, (text) => {
        const written = restoreNumbers(
          JSON.stringify({ edges: [{ node: parseJsonWithPlaceholders(text) }] }),
        );
        expect(written).toBe(`{"edges":[{"node":${text}}]}`);
      }),
    );
  });

  it('hands texts on as they are, beside numbers that are kept', () => {
    fc.assert(
      fc.property(fc.array(jsonText.object), jsonText.object, (handed, text) => {
        const texts = new JsonTexts();
        const answers = handed.map((one) =>
          texts.placeholder({
            data: new JsonText(one),
            ttl: 5,
            own: parseJsonWithPlaceholders(text),
          }),
        );
        const wanted = handed.map((one) => `{"data":${one},"ttl":5,"own":${text}}`);
        expect(restoreNumbers(JSON.stringify(answers), texts)).toBe(`[${wanted.join(',')}]`);
      }),
    );
  });

  it('does not make up a text that was handed on with another answer, or with none', () => {
    const marked = JSON.stringify(new JsonTexts().placeholder({ data: new JsonText('{}') }));
    for (const texts of [new JsonTexts(), undefined]) {
      expect(() => restoreNumbers(marked, texts)).toThrow('No text 0');
    }
  });

  it.each([[null], [undefined], ['text'], [5], [['a']], [{ data: 'text' }]])(
    'has nothing to mark in %j',
    (value) => {
      expect(new JsonTexts().placeholder(value)).toBe(value);
    },
  );
});
