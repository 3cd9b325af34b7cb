import { isObject } from '../../auth/principal';
import {
  type InexactNumbers,
  inexactNumbersOf,
  parseExactJson,
} from '../../platform/runtime/lossless-json';
import { type Decimal, decimalOf, isIntegral } from './decimal';
import { canonicalText, numberTextAt, type Place } from './json-literal';
import { Pattern } from './pattern';

/*
 * A schema is input of a client that the event loop will run: the reader knows each keyword, and refuses all that it does
 * not bound. What it returns is finite: references are replaced by what they refer to.
 */

/** The dialect of schemas, the only one. */
export const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
export const MAX_SCHEMA_BYTES = 64 * 1024;
/** Subschemas, each counted where a `$ref` repeats it, and names of `dependentRequired`. */
export const MAX_SUBSCHEMAS = 300;
/** Levels of subschemas, through references. */
const MAX_LEVELS = 48;
/**
 * Work for one value below `items`, `additionalProperties` and the like, of which an event has up to 130 000: a subschema
 * is one, a pattern an eighth of its instructions.
 */
const MAX_REPEATED_WORK = 64;
const STEPS_PER_WORK = 8;
/** Faults of one schema that are named. */
const MAX_FAULTS = 20;
const MAX_BOUND_DIGITS = 100;
const MAX_BOUND_EXPONENT = 1000;

const TYPES = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'] as const;
export type TypeName = (typeof TYPES)[number];

/** An allowed value, and the one text of all that are equal to it. */
export interface Literal {
  value: unknown;
  canonical: string;
}

/** A number of a schema, exactly. */
export interface Bound {
  decimal: Decimal;
  text: string;
}

export const NUMBER_BOUNDS = [
  'minimum',
  'exclusiveMinimum',
  'maximum',
  'exclusiveMaximum',
  'multipleOf',
] as const;
export const SIZE_BOUNDS = [
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'minContains',
  'maxContains',
] as const;
export const BRANCHES = ['allOf', 'anyOf', 'oneOf'] as const;
export const SINGLE_SUBSCHEMAS = [
  'additionalProperties',
  'propertyNames',
  'items',
  'contains',
  'not',
  'if',
  'then',
  'else',
] as const;

type SubschemaKeyword = (typeof SINGLE_SUBSCHEMAS)[number];

/** A schema without references. Absent keywords allow everything; `isNever` is the schema `false`. */
export interface Schema
  extends
    Partial<Record<(typeof NUMBER_BOUNDS)[number], Bound>>,
    Partial<Record<(typeof SIZE_BOUNDS)[number], number>>,
    Partial<Record<(typeof BRANCHES)[number], Schema[]>>,
    Partial<Record<SubschemaKeyword, Schema>> {
  /** JSON Pointer in the document. */
  pointer: string;
  isNever?: true;
  types?: ReadonlySet<TypeName>;
  /** Allowed values of `enum` and `const` together. */
  values?: Literal[];
  pattern?: Pattern;
  uniqueItems?: true;
  required?: string[];
  properties?: ReadonlyMap<string, Schema>;
  patternProperties?: ReadonlyMap<string, { pattern: Pattern; schema: Schema }>;
  prefixItems?: Schema[];
  dependentRequired?: ReadonlyMap<string, string[]>;
  dependentSchemas?: ReadonlyMap<string, Schema>;
}

/** A place of a schema (JSON Pointer), and what is wrong there. */
export interface SchemaFault {
  pointer: string;
  reason: string;
}

export class UnusableSchemaError extends Error {
  constructor(readonly faults: readonly SchemaFault[]) {
    super(faults.map(({ pointer, reason }) => `${pointer} ${reason}`).join('; '));
  }
}

/** Keywords that constrain nothing. `format` is one, as in the standard dialect. */
const ANNOTATIONS = new Set([
  '$comment',
  'title',
  'description',
  'default',
  'deprecated',
  'readOnly',
  'writeOnly',
  'examples',
  'format',
  'contentMediaType',
  'contentEncoding',
]);

const UNSUPPORTED: Readonly<Record<string, string>> = {
  $id: 'is not supported: references are within the schema alone',
  $anchor: 'is not supported: refer to #/$defs/name',
  $dynamicRef: 'is not supported: refer to #/$defs/name by $ref',
  $dynamicAnchor: 'is not supported: refer to #/$defs/name by $ref',
  $vocabulary: 'is not supported',
  unevaluatedProperties: 'is not supported: additionalProperties beside all properties is',
  unevaluatedItems: 'is not supported: items behind all prefixItems is',
  contentSchema: 'is not supported',
  definitions: 'is of an earlier draft: 2020-12 has $defs',
  dependencies: 'is of an earlier draft: 2020-12 has dependentRequired and dependentSchemas',
  additionalItems: 'is of an earlier draft: 2020-12 has items behind prefixItems',
};

/**
 * Reads a JSON Schema 2020-12 from its text, the numbers exactly.
 * @throws UnusableSchemaError with up to 20 faults; SyntaxError, UnacceptableJsonError (lossless-json.ts).
 */
export function readSchema(text: string): Schema {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_SCHEMA_BYTES) {
    const reason = `has ${bytes} bytes of at most ${MAX_SCHEMA_BYTES}`;
    throw new UnusableSchemaError([{ pointer: '', reason }]);
  }
  const list = parseExactJson(`[${text}]`) as [unknown];
  return new SchemaReader(list[0], inexactNumbersOf(list)).read();
}

/** A place while reading: what refers to it, and whether an event has any number of values there. */
interface Context {
  pointer: string;
  level: number;
  isRepeated: boolean;
  /** Names of the definitions around it. */
  within: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;
type KeywordReader = (schema: Schema, value: unknown, context: Context, given: Json) => void;

class TooLarge extends Error {}

class SchemaReader {
  private readonly faults: SchemaFault[] = [];
  private readonly definitions = new Map<string, unknown>();
  private subschemas = 0;
  private repeatedWork = 0;

  constructor(
    private readonly root: unknown,
    private readonly inexact: InexactNumbers | undefined,
  ) {}

  read(): Schema {
    const context: Context = { pointer: '', level: 0, isRepeated: false, within: [] };
    let schema: Schema = { pointer: '' };
    try {
      const definitions = isObject(this.root) ? this.root.$defs : undefined;
      if (definitions !== undefined) this.readDefinitions(definitions, context);
      schema = this.schemaIn(this.root, context);
    } catch (error) {
      if (!(error instanceof TooLarge)) throw error;
    }
    if (this.faults.length > 0) throw new UnusableSchemaError(this.faults);
    return schema;
  }

  private fault(pointer: string, reason: string): void {
    if (this.faults.some((one) => one.pointer === pointer && one.reason === reason)) return;
    this.faults.push({ pointer, reason });
    if (this.faults.length >= MAX_FAULTS) throw new TooLarge();
  }

  /** Unused definitions are read too: a fault in them is one. */
  private readDefinitions(value: unknown, { pointer, ...context }: Context): void {
    if (!isObject(value)) return this.fault('/$defs', 'must be an object');
    for (const [name, definition] of Object.entries(value)) this.definitions.set(name, definition);
    for (const [name, definition] of this.definitions) {
      const at = `${pointer}/$defs/${escaped(name)}`;
      this.schemaIn(definition, { ...context, pointer: at, within: [name] });
    }
  }

  private schemaIn(value: unknown, context: Context): Schema {
    const { pointer, level, isRepeated } = context;
    this.addSubschemas(1);
    if (level > MAX_LEVELS) {
      this.fault(pointer, `is nested deeper than ${MAX_LEVELS} levels of subschemas`);
      throw new TooLarge();
    }
    const schema: Schema = { pointer };
    if (value === false) return { pointer, isNever: true };
    if (value === true) return schema;
    if (isRepeated) this.addRepeatedWork(1);
    if (!isObject(value)) {
      this.fault(pointer, 'must be a schema: an object, true or false');
      return schema;
    }
    for (const [keyword, operand] of Object.entries(value)) {
      const at = `${pointer}/${escaped(keyword)}`;
      const read = this.keywords[keyword];
      if (read && Object.hasOwn(this.keywords, keyword)) {
        read(schema, operand, { ...context, pointer: at, level: level + 1 }, value);
      } else if (!ANNOTATIONS.has(keyword)) {
        const reason = Object.hasOwn(UNSUPPORTED, keyword) ? UNSUPPORTED[keyword] : undefined;
        this.fault(at, reason ?? 'is not a keyword of JSON Schema 2020-12');
      }
    }
    if (!schema.if) for (const name of ['then', 'else'] as const) delete schema[name];
    if (!schema.contains) {
      for (const name of ['minContains', 'maxContains'] as const) delete schema[name];
    }
    return simplified(schema);
  }

  private addSubschemas(count: number): void {
    this.subschemas += count;
    if (this.subschemas <= MAX_SUBSCHEMAS) return;
    this.fault('', `has more than ${MAX_SUBSCHEMAS} subschemas, with those that $ref repeats`);
    throw new TooLarge();
  }

  private addRepeatedWork(work: number): void {
    this.repeatedWork += work;
    if (this.repeatedWork <= MAX_REPEATED_WORK) return;
    this.fault(
      '',
      `takes too long for lists: more than ${MAX_REPEATED_WORK} subschemas (a pattern counting as ${STEPS_PER_WORK} of its steps each) hold for any number of values, below items, contains, additionalProperties, patternProperties or propertyNames`,
    );
    throw new TooLarge();
  }

  private readonly keywords: Readonly<Record<string, KeywordReader>> = {
    $schema: (_, value, { pointer, level }) => {
      if (value !== DIALECT || level > 1) this.fault(pointer, `must be ${DIALECT}, at the root`);
    },
    $defs: (_, _value, { pointer, level }) => {
      if (level > 1) this.fault(pointer, 'is supported at the root alone');
    },
    $ref: (schema, value, context) => this.readReference(schema, value, context),
    type: (schema, value, { pointer }) => {
      const names: unknown[] = Array.isArray(value) ? value : [value];
      const known = names.filter((name): name is TypeName => TYPES.includes(name as TypeName));
      if (known.length < names.length || known.length === 0) {
        return this.fault(pointer, `must be one or a list of ${TYPES.join(', ')}`);
      }
      const types = new Set(known);
      if (types.has('number')) types.delete('integer');
      schema.types = types;
    },
    enum: (schema, value, { pointer }) => {
      if (!Array.isArray(value)) return this.fault(pointer, 'must be a list');
      restrictValues(
        schema,
        value.map((one, key) => this.literalAt(one, { holder: value, key }, pointer)),
      );
    },
    const: (schema, value, { pointer }, given) => {
      const place = { holder: given, key: 'const' };
      restrictValues(schema, [this.literalAt(value, place, pointer)]);
    },
    pattern: (schema, value, { pointer, isRepeated }) => {
      schema.pattern = this.patternIn(value, pointer, isRepeated);
    },
    uniqueItems: (schema, value, { pointer }) => {
      if (typeof value !== 'boolean') return this.fault(pointer, 'must be true or false');
      if (value) schema.uniqueItems = true;
    },
    required: (schema, value, { pointer }) => {
      schema.required = this.namesIn(value, pointer);
    },
    properties: (schema, value, context) => {
      schema.properties = this.schemasIn(value, context);
    },
    patternProperties: (schema, value, context) => {
      const schemas = this.schemasIn(value, { ...context, isRepeated: true });
      const entries = [...schemas].map(([text, one]) => {
        const pattern = this.patternIn(text, one.pointer, true) ?? new Pattern('');
        return [text, { pattern, schema: one }] as const;
      });
      schema.patternProperties = new Map(entries);
    },
    prefixItems: (schema, value, context) => {
      schema.prefixItems = this.listIn(value, context);
    },
    dependentRequired: (schema, value, { pointer }) => {
      if (!isObject(value)) return this.fault(pointer, 'must be an object');
      // ajv makes code of each, as of a subschema, and fails for thousands.
      this.addSubschemas(Object.keys(value).length);
      schema.dependentRequired = new Map(
        Object.entries(value).map(([name, names]) => {
          this.checkName(name, pointer);
          return [name, this.namesIn(names, `${pointer}/${escaped(name)}`)];
        }),
      );
    },
    dependentSchemas: (schema, value, context) => {
      schema.dependentSchemas = this.schemasIn(value, context);
    },
    ...Object.fromEntries(
      BRANCHES.map((name): [string, KeywordReader] => [
        name,
        (schema, value, context) => {
          // A reference is one of allOf, too.
          schema[name] = [...(schema[name] ?? []), ...this.listIn(value, context)];
        },
      ]),
    ),
    ...Object.fromEntries(
      SINGLE_SUBSCHEMAS.map((name): [string, KeywordReader] => [
        name,
        (schema, value, context) => {
          const isRepeated = context.isRepeated || REPEATED.has(name);
          schema[name] = this.schemaIn(value, { ...context, isRepeated });
        },
      ]),
    ),
    ...Object.fromEntries(
      NUMBER_BOUNDS.map((name): [string, KeywordReader] => [
        name,
        (schema, value, { pointer }, given) => {
          const bound = this.boundIn(value, pointer, { holder: given, key: name });
          if (!bound) return;
          const { isNegative, digits } = bound.decimal;
          if (name === 'multipleOf' && (isNegative || digits === '')) {
            return this.fault(pointer, 'must be greater than 0');
          }
          schema[name] = bound;
        },
      ]),
    ),
    ...Object.fromEntries(
      SIZE_BOUNDS.map((name): [string, KeywordReader] => [
        name,
        (schema, value, { pointer }, given) => {
          const bound = this.boundIn(value, pointer, { holder: given, key: name });
          if (!bound) return;
          if (bound.decimal.isNegative || !isIntegral(bound.decimal)) {
            return this.fault(pointer, 'must be a whole number of at least 0');
          }
          schema[name] = Math.min(value as number, Number.MAX_SAFE_INTEGER);
        },
      ]),
    ),
  };

  private readReference(schema: Schema, value: unknown, context: Context): void {
    const { pointer, within } = context;
    const [, token] = typeof value === 'string' ? (/^#\/\$defs\/([^/]+)$/.exec(value) ?? []) : [];
    if (token === undefined) return this.fault(pointer, 'must be #/$defs/ and a name');
    const name = unescaped(token);
    if (!this.definitions.has(name)) return this.fault(pointer, 'refers to nothing in $defs');
    if (within.includes(name)) return this.fault(pointer, 'refers to itself: recursion has no end');
    const referred = this.schemaIn(this.definitions.get(name), {
      ...context,
      pointer: `/$defs/${escaped(name)}`,
      within: [...within, name],
    });
    schema.allOf = [...(schema.allOf ?? []), referred];
  }

  private schemasIn(value: unknown, { pointer, ...context }: Context): Map<string, Schema> {
    if (!isObject(value)) {
      this.fault(pointer, 'must be an object of schemas');
      return new Map();
    }
    return new Map(
      Object.entries(value).map(([name, one]) => {
        this.checkName(name, pointer);
        return [name, this.schemaIn(one, { ...context, pointer: `${pointer}/${escaped(name)}` })];
      }),
    );
  }

  private listIn(value: unknown, { pointer, ...context }: Context): Schema[] {
    if (!Array.isArray(value) || value.length === 0) {
      this.fault(pointer, 'must be a list of schemas, at least one');
      return [];
    }
    return value.map((one, index) =>
      this.schemaIn(one, { ...context, pointer: `${pointer}/${index}` }),
    );
  }

  private namesIn(value: unknown, pointer: string): string[] {
    if (!Array.isArray(value) || !value.every((name) => typeof name === 'string')) {
      this.fault(pointer, 'must be a list of names');
      return [];
    }
    for (const name of value) this.checkName(name, pointer);
    return [...new Set(value)];
  }

  /** A name that means an object's prototype in JavaScript is skipped by ajv. */
  private checkName(name: string, pointer: string): void {
    if (name === '__proto__') this.fault(pointer, 'must not name __proto__');
  }

  private patternIn(value: unknown, pointer: string, isRepeated: boolean): Pattern | undefined {
    if (typeof value !== 'string') {
      this.fault(pointer, 'must be a text');
      return undefined;
    }
    try {
      const pattern = new Pattern(value);
      if (isRepeated) this.addRepeatedWork(Math.ceil(pattern.steps / STEPS_PER_WORK));
      return pattern;
    } catch (error) {
      if (error instanceof TooLarge) throw error;
      this.fault(pointer, (error as Error).message);
      return undefined;
    }
  }

  private boundIn(value: unknown, pointer: string, place: Place): Bound | undefined {
    if (typeof value !== 'number') {
      this.fault(pointer, 'must be a number');
      return undefined;
    }
    const text = numberTextAt(value, place, this.inexact);
    const decimal = decimalOf(text);
    const { digits, exponent } = decimal;
    if (digits.length <= MAX_BOUND_DIGITS && Math.abs(exponent) <= MAX_BOUND_EXPONENT) {
      return { decimal, text };
    }
    this.fault(
      pointer,
      `must have at most ${MAX_BOUND_DIGITS} digits, and ${MAX_BOUND_EXPONENT} zeros`,
    );
    return undefined;
  }

  private literalAt(value: unknown, place: Place, pointer: string): Literal {
    if (typeof value === 'number') this.boundIn(value, pointer, place);
    return { value, canonical: canonicalText(value, place, this.inexact) };
  }
}

const REPEATED = new Set<string>(['items', 'contains', 'additionalProperties', 'propertyNames']);

/** `enum` beside `const` allows what both do. */
function restrictValues(schema: Schema, values: Literal[]): void {
  const { values: earlier } = schema;
  const allowed = new Set(earlier?.map(({ canonical }) => canonical));
  const unique = new Map(values.map((one) => [one.canonical, one]));
  schema.values = [...unique.values()].filter(
    ({ canonical }) => !earlier || allowed.has(canonical),
  );
}

/** A schema of one reference alone is the schema that it refers to. */
function simplified(schema: Schema): Schema {
  const { allOf = [] } = schema;
  const [only] = allOf;
  const constraints = Object.keys(schema).filter((name) => name !== 'pointer');
  return only && allOf.length === 1 && constraints.length === 1 ? only : schema;
}

/** The schemas that a schema consists of. */
export function subschemasOf(schema: Schema): Schema[] {
  const { properties, patternProperties, dependentSchemas, prefixItems = [] } = schema;
  return [
    ...(properties?.values() ?? []),
    ...[...(patternProperties?.values() ?? [])].map((one) => one.schema),
    ...(dependentSchemas?.values() ?? []),
    ...prefixItems,
    ...BRANCHES.flatMap((name) => schema[name] ?? []),
    ...SINGLE_SUBSCHEMAS.flatMap((name) => schema[name] ?? []),
  ];
}

/** A token of a JSON Pointer (RFC 6901). */
export function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** A token of a reference: percent-encoded, then escaped. */
function unescaped(token: string): string {
  let decoded = token;
  try {
    decoded = decodeURIComponent(token);
  } catch {
    // A name with a percent sign.
  }
  return decoded.replaceAll('~1', '/').replaceAll('~0', '~');
}
