import { MAX_SUBSCHEMAS, readSchema, UnusableSchemaError } from './schema-document';

function faultsOf(schema: unknown): string[] {
  const text = typeof schema === 'string' ? schema : JSON.stringify(schema);
  try {
    readSchema(text);
    return [];
  } catch (error) {
    if (!(error instanceof UnusableSchemaError)) throw error;
    return error.faults.map(({ pointer, reason }) => `${pointer}: ${reason}`);
  }
}

it('reads every keyword that it knows', () => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $comment: 'c',
    title: 't',
    $defs: { 'a/b~': { type: 'integer' } },
    type: ['object', 'null'],
    required: ['metadata'],
    properties: {
      metadata: {
        type: 'object',
        properties: {
          n: { $ref: '#/$defs/a~1b~0' },
          s: { type: 'string', pattern: '^a+$', format: 'x' },
        },
        patternProperties: { '^x-': true },
        additionalProperties: false,
        propertyNames: { maxLength: 20 },
        minProperties: 0,
        maxProperties: 9,
        dependentRequired: { n: ['s'] },
        dependentSchemas: { s: { required: ['n'] } },
      },
      targets: {
        type: 'array',
        prefixItems: [true],
        items: { enum: [1, 'a', null] },
        contains: { const: 1 },
        minContains: 0,
        maxContains: 2,
        minItems: 1,
        maxItems: 3,
        uniqueItems: true,
      },
    },
    allOf: [true],
    anyOf: [{ not: false }],
    oneOf: [{ if: true, then: true, else: false }],
  };
  expect(faultsOf(schema)).toEqual([]);
});

it.each([
  ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, '/$schema: must be'],
  ['a remote reference', { $ref: 'https://example.com/schema' }, '/$ref: must be #/$defs/'],
  ['a reference to the file system', { $ref: 'file:///etc/passwd' }, '/$ref: must be #/$defs/'],
  ['the root', { properties: { a: { $ref: '#' } } }, '/properties/a/$ref: must be #/$defs/'],
  ['a reference to nothing', { $ref: '#/$defs/toString', $defs: {} }, '/$ref: refers to nothing'],
  [
    'recursion',
    { $defs: { a: { properties: { b: { items: { $ref: '#/$defs/a' } } } } } },
    '/$defs/a/properties/b/items/$ref: refers to itself',
  ],
  [
    'recursion by two',
    { $defs: { a: { $ref: '#/$defs/b' }, b: { allOf: [{ $ref: '#/$defs/b' }] } } },
    '/$defs/b/allOf/0/$ref: refers to itself',
  ],
  ['a dynamic reference', { $dynamicRef: '#a' }, '/$dynamicRef: is not supported'],
  ['an identifier', { $id: 'https://example.com/a' }, '/$id: is not supported'],
  ['unevaluated members', { unevaluatedProperties: false }, '/unevaluatedProperties: is not supp'],
  ['an earlier draft', { definitions: {} }, '/definitions: is of an earlier draft'],
  ['a misspelt keyword', { require: ['a'] }, '/require: is not a keyword'],
  ['a keyword of ajv', { nullable: true }, '/nullable: is not a keyword'],
  ['code of ajv', { $async: true }, '/$async: is not a keyword'],
  ['what JavaScript has', { constructor: {} }, '/constructor: is not a keyword'],
  ['a list', [], ': must be a schema'],
  ['no type', { type: 'text' }, '/type: must be one'],
  ['no types', { type: [] }, '/type: must be one'],
  ['a schema of text', { properties: { 'a/b': 'string' } }, '/properties/a~1b: must be a schema'],
  ['the prototype', '{"properties":{"__proto__":true}}', '/properties: must not name __proto__'],
  ['a size of less than nothing', { minLength: -1 }, '/minLength: must be a whole number'],
  ['half an item', { maxItems: 1.5 }, '/maxItems: must be a whole number'],
  ['a multiple of nothing', { multipleOf: 0 }, '/multipleOf: must be greater than 0'],
  ['an endless bound', '{"maximum":1e99999}', '/maximum: must have at most'],
  ['an endless value', '{"const":1e99999}', '/const: must have at most'],
  ['a bound of text', { minimum: '1' }, '/minimum: must be a number'],
  ['no branch', { anyOf: [] }, '/anyOf: must be a list'],
  ['a lookahead', { pattern: '(?=a)' }, '/pattern: must be a regular expression of RE2'],
  ['a backreference', { pattern: '(a)\\1' }, '/pattern: must be a regular expression of RE2'],
  ['a large pattern', { pattern: '(?:[a-z]{30}){30}' }, '/pattern: is too large'],
  ['a long pattern', { pattern: 'a'.repeat(513) }, '/pattern: must have at most 512'],
])('refuses %s', (_, schema, fault) => {
  expect(faultsOf(schema)).toEqual([expect.stringContaining(fault)]);
});

it('names all faults, up to twenty', () => {
  expect(faultsOf({ type: 'x', minimum: 'y' })).toHaveLength(2);
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`k${at}`, 1]));
  expect(faultsOf(many)).toHaveLength(20);
});

describe('bounds', () => {
  it('refuses references that multiply', () => {
    const levels = Array.from({ length: 20 }, (_, at) => {
      const next = { $ref: `#/$defs/l${at + 1}` };
      return [`l${at}`, { allOf: [next, next] }] as const;
    });
    const schema = { $defs: { ...Object.fromEntries(levels), l20: true }, $ref: '#/$defs/l0' };
    expect(faultsOf(schema)).toEqual([expect.stringContaining(`more than ${MAX_SUBSCHEMAS}`)]);
  });

  it('refuses deep nesting, also through references', () => {
    const levels = Array.from({ length: 60 }, (_, at) => {
      return [`l${at}`, { not: { $ref: `#/$defs/l${at + 1}` } }] as const;
    });
    const schema = { $defs: { ...Object.fromEntries(levels), l60: true } };
    expect(faultsOf(schema)[0]).toContain('nested deeper than');
  });

  it('refuses too much work for each element of a list', () => {
    const branches = Array.from({ length: 70 }, () => ({ type: 'string' }));
    expect(faultsOf({ allOf: branches })).toEqual([]);
    expect(faultsOf({ items: { allOf: branches } })).toEqual([
      expect.stringContaining('takes too long for lists'),
    ]);
    const pattern = '^[0-9a-f]{8}-[0-9a-f]{4}$';
    expect(faultsOf({ items: { pattern } })).toEqual([]);
    const patterns = Array.from({ length: 40 }, (_, at) => ({ pattern: `${at}[0-9a-f]{20}` }));
    expect(faultsOf({ items: { anyOf: patterns } })).toEqual([
      expect.stringContaining('takes too long for lists'),
    ]);
  });

  it('counts names of dependentRequired, of which ajv makes code', () => {
    const of = (count: number) => {
      const entries = Array.from({ length: count }, (_, at) => [`a${at}`, ['b']] as const);
      return { dependentRequired: Object.fromEntries(entries) };
    };
    expect(faultsOf(of(MAX_SUBSCHEMAS - 1))).toEqual([]);
    expect(faultsOf(of(3500))).toEqual([expect.stringContaining(`more than ${MAX_SUBSCHEMAS}`)]);
  });

  it('refuses a large text', () => {
    expect(faultsOf({ description: 'x'.repeat(70_000) })).toEqual([
      expect.stringContaining('bytes of at most'),
    ]);
  });
});
