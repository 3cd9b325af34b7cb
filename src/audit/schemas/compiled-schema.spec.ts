import { Ajv2020 } from 'ajv/dist/2020';
import * as fc from 'fast-check';
import { anyInstance, anySchema } from '../../../test/support/json-schema-arbitraries';
import { inexactNumbersOf, parseExactJson } from '../../platform/runtime/lossless-json';
import { CompiledSchema } from './compiled-schema';
import { readSchema } from './schema-document';

/** Faults of JSON text by a schema as JSON text. */
function faultsOf(schema: string | object, text: string) {
  const compiled = new CompiledSchema(
    readSchema(typeof schema === 'string' ? schema : JSON.stringify(schema)),
  );
  const value = parseExactJson(text) as object;
  return compiled.faultsOf(value, inexactNumbersOf(value));
}

const pathsOf = (schema: string | object, text: string) =>
  faultsOf(schema, text)?.map(({ path }) => path) ?? [];

describe('numbers that no double holds', () => {
  const inside = (schema: string) => `{"properties":{"n":${schema}}}`;
  it.each([
    ['{"maximum":9223372036854775807}', '9223372036854775807', true],
    ['{"maximum":9223372036854775807}', '9223372036854775808', false],
    ['{"maximum":9223372036854775806}', '9223372036854775807', false],
    ['{"exclusiveMaximum":9223372036854775807}', '9223372036854775806', true],
    ['{"exclusiveMinimum":9223372036854775807}', '9223372036854775807', false],
    ['{"minimum":9223372036854775807}', '9223372036854775806.9999', false],
    ['{"maximum":1}', '1.00000000000000000001', false],
    ['{"minimum":1}', '0.99999999999999999999', false],
    ['{"type":"integer"}', '9223372036854775807', true],
    ['{"type":"integer"}', '0.99999999999999999999', false],
    ['{"type":"integer"}', '1.0', true],
    ['{"type":"integer"}', '1e400', true],
    ['{"type":"integer"}', '1e-400', false],
    ['{"type":"number","maximum":1e308}', '1e400', false],
    ['{"type":["integer","string"]}', '1.5', false],
    ['{"type":["integer","number"]}', '1.5', true],
    ['{"multipleOf":7}', '9223372036854775807', true],
    ['{"multipleOf":7}', '9223372036854775808', false],
    ['{"multipleOf":0.01}', '0.07', true],
    ['{"multipleOf":0.01}', '19.99', true],
    ['{"multipleOf":0.01}', '0.075', false],
    ['{"const":9223372036854775807}', '9223372036854775806', false],
    ['{"const":1.0}', '1', true],
    ['{"enum":[1e0,"a"]}', '1.00', true],
    ['{"const":[{"a":9223372036854775807}]}', '[{"a":9223372036854775808}]', false],
    ['{"const":[{"a":9223372036854775807}]}', '[{"a":9223372036854775807.0}]', true],
    ['{"uniqueItems":true}', '[9223372036854775807,9223372036854775808]', true],
    ['{"uniqueItems":true}', '[1,1.0]', false],
    ['{"uniqueItems":true}', '[{"a":1,"b":2},{"b":2,"a":1}]', false],
  ])('%s of %s: %s', (schema, value, isValid) => {
    expect(pathsOf(inside(schema), `{"n":${value}}`)).toEqual(isValid ? [] : ['n']);
  });
});

it('checks members that several branches of a schema may evaluate', () => {
  const schema = {
    patternProperties: { '^a': {} },
    oneOf: [{}, { additionalProperties: { type: 'null' } }],
  };
  expect(faultsOf(schema, '{"a":""}')).toBeUndefined();
  expect(faultsOf(schema, '{"a":null}')).toMatchObject([{ path: '' }]);
});

it('finds what ajv finds, in numbers that a double holds', () => {
  const verdicts = { valid: 0, invalid: 0 };
  fc.assert(
    fc.property(anySchema, anyInstance, (schema, value) => {
      const ajv = new Ajv2020({ strict: false, ownProperties: true });
      ajv.opts.unevaluated = false; // as in compiled-schema.ts
      const reference = ajv.compile(schema);
      const text = JSON.stringify({ metadata: value });
      const whole = { properties: { metadata: schema } };
      const isValid = reference(value);
      verdicts[isValid ? 'valid' : 'invalid'] += 1;
      expect({ schema, value, isValid: faultsOf(whole, text) === undefined }).toEqual({
        schema,
        value,
        isValid,
      });
    }),
    { numRuns: 300 },
  );
  expect(Math.min(verdicts.valid, verdicts.invalid)).toBeGreaterThan(20);
});

describe('faults', () => {
  it('have the path of the value', () => {
    const schema = {
      properties: {
        metadata: {
          properties: { list: { items: { properties: { 'odd name': { type: 'string' } } } } },
          additionalProperties: false,
        },
      },
    };
    expect(faultsOf(schema, '{"metadata":{"list":[{},{"odd name":1}]}}')).toEqual([
      { path: 'metadata.list[1]["odd name"]', message: 'must be string' },
    ]);
    expect(faultsOf(schema, '{"metadata":{"extra":1}}')).toEqual([
      { path: 'metadata.extra', message: 'is not a property' },
    ]);
  });

  it('name the values that are allowed', () => {
    const schema = { properties: { a: { enum: ['x', 1] }, b: { const: true }, c: false } };
    expect(faultsOf(schema, '{"a":2}')?.[0]?.message).toBe('must be one of "x", 1');
    expect(faultsOf(schema, '{"b":2}')?.[0]?.message).toBe('must be true');
    expect(faultsOf(schema, '{"c":2}')?.[0]?.message).toBe('is not allowed');
  });

  it('are the first one of a list of any length', () => {
    const text = JSON.stringify({ a: Array.from({ length: 100_000 }, () => 'x') });
    expect(pathsOf({ properties: { a: { items: { type: 'number' } } } }, text)).toEqual(['a[0]']);
  });

  it('have no path where the search would take too long', () => {
    const branches = Array.from({ length: 30 }, (_, at) => ({ const: at }));
    const schema = { properties: { a: { items: { anyOf: [...branches, { type: 'null' }] } } } };
    const list = Array.from({ length: 30_000 }, () => null);
    expect(pathsOf(schema, JSON.stringify({ a: list }))).toEqual([]);
    expect(faultsOf(schema, JSON.stringify({ a: [...list, 'x'] }))).toEqual([
      { path: '', message: expect.stringContaining('does not match') },
    ]);
  });
});

describe('what a client may try', () => {
  it.each(['constructor', 'toString', 'valueOf', 'hasOwnProperty', 'length'])(
    'a member called %s is one like any other',
    (name) => {
      const schema = { required: [name], properties: { [name]: { type: 'string' } } };
      expect(pathsOf(schema, '{}')).toEqual(['']);
      expect(pathsOf(schema, `{"${name}":1}`)).toEqual([`${name}`]);
      expect(pathsOf(schema, `{"${name}":"a"}`)).toEqual([]);
      expect(pathsOf({ properties: { [name]: { type: 'string' } } }, '{}')).toEqual([]);
    },
  );

  it('members that JavaScript calls are compared as values', () => {
    const schema = { properties: { a: { enum: [{ b: 1 }] }, c: { uniqueItems: true } } };
    const text = '{"a":{"valueOf":1,"toString":2,"constructor":{}}}';
    expect(pathsOf(schema, text)).toEqual(['a']);
    expect(pathsOf(schema, '{"c":[{"valueOf":1},{"valueOf":1}]}')).toEqual(['c']);
  });

  it('a name that would end a text of code is a name', () => {
    const name = `'"\`\\\u2028*/});process.exit(1);//`;
    const schema = { required: [name], properties: { [name]: { const: name, pattern: 'exit' } } };
    expect(pathsOf(schema, JSON.stringify({ [name]: name }))).toEqual([]);
    expect(pathsOf(schema, '{}')).toEqual(['']);
  });

  it('__proto__ is a member that a closed object refuses', () => {
    const schema = { properties: { a: { additionalProperties: false } } };
    expect(faultsOf(schema, '{"a":{"__proto__":{"b":1}}}')).toHaveLength(1);
  });

  const list = Array.from({ length: 40_000 }, (_, at) => at);
  let state = 1;
  /** Texts without a period, from the generator of Numerical Recipes. */
  const texts = Array.from({ length: 200 }, () => {
    const letters = Array.from({ length: 1000 }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state > 0x7fff_ffff ? 'a' : 'b';
    });
    return letters.join('');
  });
  const steps = { items: { pattern: '^([ab]*a[ab]{200}c|[ab]*)$' } };
  const long = `"${'a'.repeat(200_000)}"`;
  it.each([
    ['elements that are to differ', () => ({ uniqueItems: true }), JSON.stringify(list)],
    [
      'values that are to be equal',
      (at: number) => ({ not: { const: [at] } }),
      JSON.stringify(list),
    ],
    ['digits', (at: number) => ({ not: { multipleOf: 3 + at / 1e9 } }), '7'.repeat(200_000)],
    ['characters', (at: number) => ({ not: { maxLength: 130_000 + at } }), long],
    ['steps of patterns', () => steps, JSON.stringify(texts)],
  ])('%s are not checked beyond some work', (_, branch, text) => {
    const count = branch(0) === steps ? 1 : 120;
    // Each holds, so that all are looked at.
    const allOf = Array.from({ length: count }, (_one, at) => branch(at));
    const schema = { properties: { a: { allOf } } };
    expect(faultsOf(schema, `{"a":${text}}`)).toEqual([
      { path: '', message: expect.stringContaining('is not checked') },
    ]);
    expect(faultsOf(schema, '{"a":[]}')?.[0]?.message ?? '').not.toContain('is not checked');
  });

  it('a pattern of many instructions is matched with many texts, as it takes little for each', () => {
    const schema = { properties: { a: { items: { not: { pattern: '[a-z]{0,200}x$' } } } } };
    expect(pathsOf(schema, JSON.stringify({ a: texts }))).toEqual([]);
  });

  it('each value has the same work', () => {
    const schema = { properties: { a: { uniqueItems: true } } };
    const compiled = new CompiledSchema(readSchema(JSON.stringify(schema)));
    for (let times = 0; times < 40; times += 1) {
      expect(compiled.faultsOf({ a: list })).toBeUndefined();
    }
  });

  it('thousands of allowed values are looked up', () => {
    const schema = { properties: { a: { items: { enum: list.slice(0, 8000).map(String) } } } };
    const elements = Array.from({ length: 40_000 }, () => '7999');
    expect(pathsOf(schema, JSON.stringify({ a: elements }))).toEqual([]);
    expect(pathsOf(schema, JSON.stringify({ a: [...elements, '8000'] }))).toEqual(['a[40000]']);
  });

  it('lengths are those in characters', () => {
    const schema = { properties: { a: { minLength: 2, maxLength: 3 } } };
    const valid = ['ab', 'abc', '\u{1f600}a', '\u{1f600}\u{1f600}\u{1f600}'];
    for (const a of valid) expect(pathsOf(schema, JSON.stringify({ a }))).toEqual([]);
    for (const a of ['', 'a', '\u{1f600}', 'abcd', '\u{1f600}'.repeat(4), '\u{1f600}abc']) {
      expect(pathsOf(schema, JSON.stringify({ a }))).toEqual(['a']);
    }
  });

  it('a pattern that takes RegExp exponential time is matched in linear time', () => {
    const schema = { properties: { a: { pattern: '^(a+)+$' }, b: { pattern: '(x+x+)+y' } } };
    expect(pathsOf(schema, JSON.stringify({ a: `${'a'.repeat(1000)}b` }))).toEqual(['a']);
    expect(pathsOf(schema, JSON.stringify({ b: 'x'.repeat(1000) }))).toEqual(['b']);
    expect(pathsOf(schema, JSON.stringify({ a: 'a'.repeat(1025) }))).toEqual(['a']); // too long for any pattern
  });
});
