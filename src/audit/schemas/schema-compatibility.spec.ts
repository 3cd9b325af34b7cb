import * as fc from 'fast-check';
import { anyInstance, schemaAndNext } from '../../../test/support/json-schema-arbitraries';
import { CompiledSchema } from './compiled-schema';
import { incompatibility } from './schema-compatibility';
import { readSchema } from './schema-document';

const compare = (older: unknown, newer: unknown) =>
  incompatibility(readSchema(JSON.stringify(older)), readSchema(JSON.stringify(newer)));

it('accepts no version that refuses what the one before accepts', () => {
  const seen = { compatible: 0, valid: 0 };
  fc.assert(
    fc.property(
      schemaAndNext,
      fc.array(anyInstance, { minLength: 8, maxLength: 8 }),
      ([older, newer], values) => {
        if (JSON.stringify(older) === JSON.stringify(newer)) return;
        const [one, other] = [older, newer].map((schema) =>
          readSchema(JSON.stringify({ properties: { v: schema } })),
        );
        if (!one || !other || incompatibility(one, other)) return;
        seen.compatible += 1;
        const [before, after] = [new CompiledSchema(one), new CompiledSchema(other)];
        for (const v of values) {
          if (before.faultsOf({ v })) continue;
          seen.valid += 1;
          expect({ older, newer, v, faults: after.faultsOf({ v }) }).toEqual({ older, newer, v });
        }
      },
    ),
    { numRuns: Number(process.env['SCHEMA_RUNS'] ?? 1500) },
  );
  // Or nothing was shown.
  expect(seen.compatible).toBeGreaterThan(100);
  expect(seen.valid).toBeGreaterThan(200);
}, 120_000);

const closed = (properties: object, more: object = {}) => ({
  type: 'object',
  properties,
  additionalProperties: false,
  ...more,
});

describe('accepts a version that', () => {
  const text = { type: 'string' };
  it.each([
    [
      'is the same in another order',
      { type: 'string', minLength: 1 },
      { minLength: 1, type: 'string' },
    ],
    ['has other notes', { title: 'a' }, { description: 'b', format: 'date' }],
    ['adds a member to a closed object', closed({ a: text }), closed({ a: text, b: text })],
    ['opens an object', closed({ a: text }), { type: 'object', properties: { a: text } }],
    ['requires less', closed({ a: text }, { required: ['a'] }), closed({ a: text })],
    ['allows another value', { enum: ['a'] }, { enum: ['a', 'b'] }],
    ['allows any value', { const: 'a' }, text],
    ['allows another type', text, { type: ['string', 'null'] }],
    ['allows all numbers', { type: 'integer' }, { type: 'number' }],
    [
      'widens bounds',
      { minimum: 1, maximum: 2, minLength: 2 },
      { minimum: 0, maximum: 3, minLength: 1 },
    ],
    ['allows more multiples', { multipleOf: 6 }, { multipleOf: 3 }],
    ['adds a branch', { anyOf: [text] }, { anyOf: [text, { type: 'null' }] }],
    [
      'refers to what was there',
      { properties: { a: text } },
      { $defs: { t: text }, properties: { a: { $ref: '#/$defs/t' } } },
    ],
    ['forbids less', { not: text }, { not: { type: 'string', minLength: 1 } }],
    ['widens elements', { items: { type: 'integer' }, maxItems: 3 }, { items: { type: 'number' } }],
    ['keeps a pattern', { pattern: '^a' }, { pattern: '^a', maxLength: 5000 }],
  ])('%s', (_, older, newer) => {
    const fault = compare(older, newer);
    if (_ === 'keeps a pattern')
      expect(fault?.pointer).toBe('/maxLength'); // nothing limited the length before
    else expect(fault).toBeUndefined();
  });
});

describe('refuses a version, with the place and the reason, that', () => {
  const text = { type: 'string' };
  it.each([
    [
      'requires a member',
      closed({ a: text }),
      closed({ a: text }, { required: ['a'] }),
      '/required',
      'requires a',
    ],
    [
      'constrains a free member',
      { type: 'object' },
      { type: 'object', properties: { a: text } },
      '/properties/a',
      'additionalProperties: false',
    ],
    ['closes an object', { properties: { a: text } }, closed({ a: text }), '/type', 'allows no'],
    [
      'leaves a member out',
      closed({ a: text, b: text }),
      closed({ a: text }),
      '/additionalProperties',
      'allows nothing',
    ],
    ['narrows a type', { type: ['string', 'null'] }, text, '/type', 'allows no null any more'],
    ['wants whole numbers', { type: 'number' }, { type: 'integer' }, '/type', 'allows no number'],
    ['takes a value away', { enum: ['a', 'b'] }, { enum: ['a'] }, '/enum', 'does not allow "b"'],
    ['limits values', text, { enum: ['a'] }, '/enum', 'others were allowed'],
    [
      'narrows a bound',
      { type: 'number', maximum: 2 },
      { type: 'number', maximum: 1 },
      '/maximum',
      '(1) allows less',
    ],
    ['narrows a length', { maxLength: 5 }, { maxLength: 4 }, '/maxLength', 'is less'],
    ['has another pattern', { pattern: 'a' }, { pattern: 'b' }, '/pattern', 'not compared'],
    [
      'adds an exclusive branch',
      { oneOf: [text] },
      { oneOf: [text, { type: 'null' }] },
      '/oneOf',
      'match at once',
    ],
    [
      'drops a branch',
      { anyOf: [text, { type: 'null' }] },
      { anyOf: [text] },
      '/anyOf',
      'no branch',
    ],
    ['forbids more', { not: { type: 'string', minLength: 1 } }, { not: text }, '/not', 'forbids'],
    ['has a condition', true, { if: text, then: { minLength: 1 } }, '/if', 'condition'],
    ['allows nothing', text, false, '', 'allows nothing'],
  ])('%s', (_, older, newer, pointer, reason) => {
    expect(compare(older, newer)).toEqual({ pointer, reason: expect.stringContaining(reason) });
  });
});

it('compares bounds that no double holds', () => {
  const [older, newer] = ['{"maximum":9223372036854775807}', '{"maximum":9223372036854775806}'].map(
    readSchema,
  );
  expect(older && newer && incompatibility(newer, older)).toBeUndefined();
  expect(older && newer && incompatibility(older, newer)).toMatchObject({ pointer: '/maximum' });
});

it('ends on alternatives within alternatives', () => {
  const nested = (depth: number, leaf: string): object =>
    depth === 0
      ? { const: leaf }
      : { anyOf: [nested(depth - 1, `${leaf}a`), nested(depth - 1, `${leaf}b`)] };
  expect(compare(nested(7, 'x'), nested(7, 'y'))).toBeDefined();
});
