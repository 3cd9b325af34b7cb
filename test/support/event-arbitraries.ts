import * as fc from 'fast-check';

/** Any text that an event can hold: every code point but NUL and lone surrogates, with the nasty ones often. */
export const storableText = (maxLength: number): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ unit: 'binary', maxLength }),
      fc.string({ unit: fc.constantFrom(...NASTY), maxLength: Math.min(maxLength, 12) }),
      fc.constantFrom(...WORDS.filter((word) => word.length <= maxLength)),
    )
    .map((text) => text.replaceAll('\0', '\u0001'));

/** Controls, quotes, line separators, right-to-left and joining marks, astral and unassigned characters. */
const NASTY = [
  ...'\t\r\n\b\f\u0001\u001f\u007f\u0085"\\/\'`$%;<>&{}[]',
  ...'\u00a0\u0301\u0600\u200b\u200d\u200f\u2028\u2029\u202e\u2066\ufeff\ufffd\uffff\ue000',
  ...'ßİıſéאع漢😀👩\u{10ffff}\u{1d11e}',
];

const WORDS = [
  '',
  ' ',
  '\r\n',
  'null',
  'NULL',
  '__proto__',
  'constructor',
  'toString',
  '0',
  '-1',
  '1e400',
  '\\u0000',
  '\\x00',
  '\\N',
  "'; DROP TABLE events; --",
  '%s%n${x}{{7*7}}',
  '{"a":1}',
  'e\u0301\u0301\u0301',
  '👩‍👩‍👧‍👦',
  'مرحبا \u202eabc',
];

const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max });

/** The text of a JSON number in any spelling, far beyond what a double holds. */
export const numberText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '0',
    '-0',
    '0.0',
    '-0.0',
    '1.0',
    '1e400',
    '-1E-400',
    '1E+2',
    '0.1e1',
    '5e-324',
    '1e-7',
    '0.0000001',
  ),
  fc.constantFrom(
    '9223372036854775807',
    '-9218868437227405312',
    '9007199254740993',
    '1.688560107857E9',
    '123456789012345678.90',
  ),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.oneof(
        fc.constant('0'),
        digits(1, 40).map((text) => text.replace(/^0+(?=.)/, '')),
      ),
      fc.option(digits(1, 40)),
      fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e-', 'E+'), digits(1, 4))),
    )
    .map(
      ([sign, whole, fraction, exponent]) =>
        `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent?.join('') ?? ''}`,
    ),
);

/** How a string may be spelt in JSON: as usual, or with every UTF-16 unit escaped. */
const spelling = fc.constantFrom(
  (text: string) => JSON.stringify(text),
  (text: string) =>
    `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`,
);

const stringText = fc.tuple(storableText(40), spelling).map(([text, spell]) => spell(text));
const space = fc.constantFrom('', '', '', ' ', '\n', '\t', '\r\n');

function objectText(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const member = fc.tuple(storableText(20), spelling, space, value, space);
  return fc
    .uniqueArray(member, { maxLength: 5, selector: ([name]) => name })
    .map(
      (members) =>
        `{${members.map(([name, spell, before, text, after]) => `${before}${spell(name)}${after}:${before}${text}${after}`).join(',')}}`,
    );
}

const json = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(numberText, stringText, fc.constantFrom('true', 'false', 'null')),
    tie('object'),
    fc.array(tie('value'), { maxLength: 4 }).map((elements) => `[${elements.join(', ')}]`),
  ),
  object: objectText(tie('value')),
}));

/** The text of a JSON object of any content and layout, a few levels deep. */
export const objectJson: fc.Arbitrary<string> = json.object;

const name = storableText(255);
const optionalName = fc.option(name);

/** One that has a type or an id. */
const target = fc
  .record({ type: optionalName, id: optionalName, name: optionalName }, { requiredKeys: [] })
  .map((one) => (typeof (one.type ?? one.id) === 'string' ? one : { ...one, id: 'x' }));

const change = fc
  .tuple(storableText(100), spelling, fc.option(json.value), fc.option(json.value), fc.boolean())
  .map(([path, spell, old, now, isFirst]) => {
    const at = `"path":${spell(path)}`;
    const values = [old === null ? [] : [`"old": ${old}`], now === null ? [] : [`"new":${now}`]];
    return `{${[...(isFirst ? [at] : []), ...values.flat(), ...(isFirst ? [] : [at])].join(' ,')}}`;
  });

const stringified = (value: fc.Arbitrary<unknown>) => value.map((one) => JSON.stringify(one));

/** The texts of the members that an event need not have, any of them, by their names. */
export const sparseJson: fc.Arbitrary<Partial<Record<SparseMember, string>>> = fc.record(
  {
    principalType: stringified(storableText(64)),
    principalName: stringified(name),
    targets: stringified(fc.array(target, { minLength: 1, maxLength: 4 })),
    changes: fc.array(change, { maxLength: 4 }).map((changes) => `[${changes.join(', ')}]`),
    source: stringified(
      fc.record(
        { service: optionalName, host: optionalName, version: optionalName },
        { requiredKeys: [] },
      ),
    ),
    schemaVersion: stringified(storableText(32)),
  },
  { requiredKeys: [] },
);

export type SparseMember =
  'principalType' | 'principalName' | 'targets' | 'changes' | 'source' | 'schemaVersion';

/** A moment between two, as the contract allows to write it, and in UTC with six digits, or as many as it needs. */
export const instant = (
  fromMs: number,
  toMs: number,
): fc.Arbitrary<{ sent: string; utc: string }> =>
  fc
    .record({
      second: fc.integer({ min: Math.ceil(fromMs / 1000), max: Math.floor(toMs / 1000) - 1 }),
      fraction: fc.oneof(fc.constant(''), digits(1, 6), digits(6, 6), digits(7, 9)),
      zeros: fc.constantFrom('', '0', '000'),
      offsetMinutes: fc.oneof(fc.constant(0), fc.integer({ min: -23 * 60, max: 23 * 60 })),
      zulu: fc.constantFrom('Z', 'z', '+00:00', '-00:00'),
      mark: fc.constantFrom('T', 't'),
    })
    .map(({ second, fraction, zeros, offsetMinutes, zulu, mark }) => {
      const local = new Date((second + offsetMinutes * 60) * 1000)
        .toISOString()
        .slice(0, 19)
        .replace('T', mark);
      const minutes = Math.abs(offsetMinutes);
      const two = (number: number) => String(number).padStart(2, '0');
      const offset =
        offsetMinutes === 0
          ? zulu
          : `${offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
      const sent = `${local}${fraction === '' ? '' : `.${fraction}${zeros}`}${offset}`;
      return {
        sent,
        utc: `${new Date(second * 1000).toISOString().slice(0, 19)}.${fraction.slice(0, 6).padEnd(6, '0')}${fraction.slice(6).replace(/0+$/, '')}Z`,
      };
    });
