import * as fc from 'fast-check';

type Json = Record<string, unknown>;

const NAMES = ['a', 'b', 'c', 'ab', 'constructor'] as const;
const name = fc.constantFrom(...NAMES);
const integer = fc.integer({ min: -3, max: 6 });
/** Numbers that a double holds, some of them halves. */
const number = fc.oneof(
  integer,
  integer.map((value) => value / 2),
);
const size = fc.integer({ min: 0, max: 3 });
const text = fc.string({ unit: fc.constantFrom('a', 'b', '1', '😀'), maxLength: 4 });
const type = fc.constantFrom('null', 'boolean', 'object', 'array', 'number', 'string', 'integer');

/** JSON values of a small world, so that schemas often accept them. */
export const anyInstance: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.oneof(fc.constant(null), fc.boolean(), number, text),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;

/** Schemas whose numbers a double holds, and whose multiples are of whole numbers. */
export const anySchema: fc.Arbitrary<Json> = fc.letrec<{ schema: Json; inner: Json | boolean }>(
  (tie) => ({
    inner: fc.oneof({ weight: 5, arbitrary: tie('schema') }, fc.boolean()),
    schema: fc.oneof(
      { maxDepth: 2, depthIdentifier: 'schema' },
      fc.dictionary(fc.constant('type'), fc.oneof(type, fc.uniqueArray(type, { minLength: 1 })), {
        noNullPrototype: true,
      }),
      keywordsOf({
        type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 4 })),
        enum: fc.array(anyInstance, { minLength: 1, maxLength: 3 }),
        const: anyInstance,
        minimum: number,
        exclusiveMinimum: number,
        maximum: number,
        exclusiveMaximum: number,
        multipleOf: fc.constantFrom(1, 2, 3),
        minLength: size,
        maxLength: size,
        pattern: fc.constantFrom('^a', 'b$', '^[ab]*$', '1'),
        minItems: size,
        maxItems: size,
        uniqueItems: fc.boolean(),
        prefixItems: fc.array(tie('inner'), { minLength: 1, maxLength: 2 }),
        items: tie('inner'),
        contains: tie('inner'),
        minContains: size,
        maxContains: size,
        minProperties: size,
        maxProperties: size,
        required: fc.uniqueArray(name, { maxLength: 2 }),
        properties: fc.dictionary(name, tie('inner'), { maxKeys: 3, noNullPrototype: true }),
        patternProperties: fc.dictionary(fc.constantFrom('^a', 'b'), tie('inner'), {
          maxKeys: 2,
          noNullPrototype: true,
        }),
        additionalProperties: tie('inner'),
        propertyNames: fc.constantFrom({ maxLength: 1 }, { pattern: '^a' }, { enum: ['a', 'b'] }),
        dependentRequired: fc.dictionary(name, fc.uniqueArray(name, { maxLength: 2 }), {
          maxKeys: 1,
          noNullPrototype: true,
        }),
        dependentSchemas: fc.dictionary(name, tie('inner'), { maxKeys: 1, noNullPrototype: true }),
        allOf: fc.array(tie('inner'), { minLength: 1, maxLength: 2 }),
        anyOf: fc.array(tie('inner'), { minLength: 1, maxLength: 2 }),
        oneOf: fc.array(tie('inner'), { minLength: 1, maxLength: 2 }),
        not: tie('inner'),
        if: tie('inner'),
        then: tie('inner'),
        else: tie('inner'),
      }),
    ),
  }),
).schema;

/** Some of these keywords, few at a time. */
function keywordsOf(keywords: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Json> {
  const names = Object.keys(keywords);
  return fc.subarray(names, { maxLength: 4 }).chain((some) =>
    fc.record(Object.fromEntries(some.map((one) => [one, keywords[one] ?? fc.constant(true)])), {
      noNullPrototype: true,
    }),
  );
}

/** A schema, and one that differs in some keyword somewhere. */
export const schemaAndNext: fc.Arbitrary<[Json, Json]> = fc
  .tuple(anySchema, anySchema, fc.infiniteStream(fc.nat({ max: 99 })))
  .map(([older, other, choices]) => [older, changed(older, other, choices) as Json]);

/** The schema with a keyword left out or replaced by that of `other`, here or within. */
function changed(schema: unknown, other: Json, choices: Iterator<number>): unknown {
  const next = (below: number): number => Number(choices.next().value) % Math.max(1, below);
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return schema;
  const keywords = Object.keys(schema);
  const keyword = keywords[next(keywords.length)];
  if (keyword === undefined) return other;
  const operand = (schema as Json)[keyword];
  const kind = next(5);
  if (kind === 0) return without(schema as Json, keyword);
  if (kind === 1) return { ...schema, ...other };
  if (kind === 2 && typeof operand === 'number') {
    return { ...schema, [keyword]: Math.max(1, operand + next(5) - 2) };
  }
  if (
    ['not', 'items', 'additionalProperties', 'contains', 'if', 'then', 'else'].includes(keyword)
  ) {
    return { ...schema, [keyword]: changed(operand, other, choices) };
  }
  if (keyword === 'properties') {
    const names = Object.keys(operand as Json);
    const one = names[next(names.length)];
    if (one === undefined) return { ...schema, properties: { a: other } };
    if (next(3) === 0) return { ...schema, properties: { ...(operand as Json), ab: other } };
    const inner = changed((operand as Json)[one], other, choices);
    return { ...schema, properties: { ...(operand as Json), [one]: inner } };
  }
  if (['allOf', 'anyOf', 'oneOf', 'enum', 'required', 'prefixItems', 'type'].includes(keyword)) {
    const list = Array.isArray(operand) ? operand : [operand];
    const at = next(list.length);
    if (kind === 3 && list.length > 1) return { ...schema, [keyword]: list.toSpliced(at, 1) };
    if (kind === 4 && ['anyOf', 'oneOf', 'prefixItems', 'enum'].includes(keyword)) {
      return { ...schema, [keyword]: [...list, other] };
    }
    return {
      ...schema,
      [keyword]: list.map((one, i) => (i === at ? changed(one, other, choices) : one)),
    };
  }
  return without(schema as Json, keyword);
}

function without(schema: Json, keyword: string): Json {
  return Object.fromEntries(Object.entries(schema).filter(([one]) => one !== keyword));
}
