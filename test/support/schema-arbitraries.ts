import * as fc from 'fast-check';

/** A JSON Schema as it stands in an OpenAPI 3.1 document, as far as values are made from it. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  /** Of the values in a text of another format, such as the lines of NDJSON. */
  contentSchema?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  example?: unknown;
  default?: unknown;
}

type Resolve = (reference: string) => Schema;

/** Longer lists and texts cost time and find nothing more. */
const MAX_ITEMS = 4;
const MAX_LENGTH = 40;
const MAX_DEPTH = 12;

/** Values that a careless program trips over, as JSON holds them. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0.5,
    1e308,
    Number.MAX_SAFE_INTEGER + 1,
    '',
    '\0',
    '\ud800',
    '\u202e',
    '😀'.repeat(128),
    'x'.repeat(256),
    'x'.repeat(10_001),
    "'; DROP TABLE audit_event; --",
    '$1',
    '__proto__',
    '2026-02-30T25:61:61Z',
    '+275760-09-13T00:00:00.001Z',
    '0001-01-01T00:00:00Z',
    [],
    {},
    [[[[]]]],
    { constructor: { prototype: {} } },
  ),
  fc.constantFrom(JSON.parse('{"__proto__":{"admin":true}}') as unknown),
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** Values that the schema allows. Those it gives as examples come often, as they are what gets far. */
export function valueOf(schema: Schema, resolve: Resolve, depth = 0): fc.Arbitrary<unknown> {
  const all = { ...schema, ...(schema.$ref === undefined ? {} : resolve(schema.$ref)) };
  const { enum: choices, anyOf, oneOf, allOf, example } = all;
  const inner = (part: Schema) => valueOf(part, resolve, depth + 1);
  if (all.const !== undefined) return fc.constant(all.const);
  if (choices && choices.length > 0) return fc.constantFrom(...choices);
  const alternatives = anyOf ?? oneOf;
  if (alternatives && alternatives.length > 0) return fc.oneof(...alternatives.map(inner));
  if (allOf) {
    return fc.tuple(...allOf.map(inner)).map((parts) => Object.assign({}, ...parts) as unknown);
  }
  const types = [all.type ?? 'object'].flat();
  const made = fc.oneof(...types.map((type) => ofType(type, all, resolve, depth)));
  if (example === undefined || all.type === 'object' || all.type === 'array') return made;
  return fc.oneof({ weight: 3, arbitrary: fc.constant(example) }, { weight: 2, arbitrary: made });
}

function ofType(
  type: string,
  schema: Schema,
  resolve: Resolve,
  depth: number,
): fc.Arbitrary<unknown> {
  switch (type) {
    case 'string':
      return textOf(schema);
    case 'integer':
      return fc.integer({
        min: Math.max(schema.minimum ?? -1000, -(2 ** 31)),
        max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1),
      });
    case 'number':
      return fc.double({ min: schema.minimum, max: schema.maximum, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valueOf(schema.items ?? {}, resolve, depth + 1), {
        minLength: Math.min(schema.minItems ?? 0, MAX_ITEMS),
        maxLength: Math.min(schema.maxItems ?? MAX_ITEMS, MAX_ITEMS),
      });
    default:
      return depth > MAX_DEPTH ? fc.constant({}) : objectOf(schema, resolve, depth);
  }
}

function objectOf(schema: Schema, resolve: Resolve, depth: number): fc.Arbitrary<unknown> {
  const { properties, required = [] } = schema;
  if (!properties) return fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
  const members = Object.entries(properties).map(
    ([name, part]) => [name, valueOf(part, resolve, depth + 1)] as const,
  );
  return fc.record(Object.fromEntries(members), {
    requiredKeys: required.filter((name) => name in properties),
  });
}

function textOf({ format, pattern, minLength = 0, maxLength }: Schema): fc.Arbitrary<string> {
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  switch (format) {
    case 'uuid':
      return fc.uuid();
    case 'date-time':
      // Of few months, as each new one makes a partition.
      return fc
        .date({ min: new Date('2026-06-01'), max: new Date('2026-11-01'), noInvalidDate: true })
        .map((date) => date.toISOString());
    case 'date':
      return fc.constantFrom('2026-08-01', '2026-10-31');
    default:
      return fc.string({
        unit: fc.constantFrom(...'abcXYZ019 -_.,:;/\\%\'"äß漢😀'),
        minLength,
        maxLength: Math.max(minLength, Math.min(maxLength ?? MAX_LENGTH, MAX_LENGTH)),
      });
  }
}

/** Values that the schema would allow but for one place: a member more, less, or with something hostile for its value. */
export function nearlyValueOf(schema: Schema, resolve: Resolve): fc.Arbitrary<unknown> {
  return fc
    .tuple(valueOf(schema, resolve), fc.nat(1000), fc.constantFrom(...CHANGES), hostileValue)
    .map(([value, place, change, hostile]) => changed(value, place, change, hostile));
}

const CHANGES = ['replace', 'remove', 'add'] as const;

function changed(
  value: unknown,
  place: number,
  change: (typeof CHANGES)[number],
  hostile: unknown,
): unknown {
  const copy = structuredClone(value);
  const places: [Record<string, unknown>, string][] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [name, member] of Object.entries(node)) {
      places.push([node as Record<string, unknown>, name]);
      visit(member);
    }
  };
  visit(copy);
  const at = places[place % Math.max(places.length, 1)];
  if (!at) return hostile;
  const [parent, name] = at;
  if (change === 'remove') {
    if (Array.isArray(parent)) parent.splice(Number(name), 1);
    else delete parent[name];
  } else {
    parent[change === 'add' && !Array.isArray(parent) ? `${name}X` : name] = hostile;
  }
  return copy;
}
