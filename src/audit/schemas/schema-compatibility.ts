import { normalNumber } from '../event/event-content';
import { type Decimal, compareDecimals, decimalOf, isMultiple } from './decimal';
import {
  type Bound,
  BRANCHES,
  NUMBER_BOUNDS,
  type Schema,
  type SchemaFault,
  SINGLE_SUBSCHEMAS,
  SIZE_BOUNDS,
  type TypeName,
} from './schema-document';

/*
 * Whether every value that one schema accepts is accepted by another cannot be decided in general. These rules are sound and
 * incomplete: each keyword of the newer schema has to follow from a keyword of the older one. What does not follow by them is
 * an incompatibility.
 */

/** Comparisons of two schemas: alternatives within alternatives multiply. */
const MAX_COMPARISONS = 20_000;

/** The first place of `newer` that may refuse what `older` accepts; undefined when there is none. */
export function incompatibility(older: Schema, newer: Schema): SchemaFault | undefined {
  return new Comparison().refusal(older, newer);
}

const ANYTHING: Schema = { pointer: '' };

class Comparison {
  private comparisons = 0;

  /** A place of `newer` that may refuse a value of `older`. */
  refusal(older: Schema, newer: Schema): SchemaFault | undefined {
    this.comparisons += 1;
    if (this.comparisons > MAX_COMPARISONS) {
      return { pointer: newer.pointer, reason: 'has too many alternatives to be compared' };
    }
    if (older.isNever || isAnything(newer)) return undefined;
    if (newer.isNever) return { pointer: newer.pointer, reason: 'allows nothing any more' };
    if (textOf(older) === textOf(newer)) return undefined;
    for (const part of partsOf(newer)) {
      const fault = this.partRefusal(older, part);
      if (fault) return fault;
    }
    return undefined;
  }

  private accepts(older: Schema | undefined, newer: Schema): boolean {
    return this.refusal(older ?? ANYTHING, newer) === undefined;
  }

  /** `part` has one keyword, or those that belong together. It may follow from a part of `older`, or from all its branches. */
  private partRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const fault = this.directRefusal(older, part);
    if (!fault) return undefined;
    if (older.allOf?.some((one) => this.accepts(one, part))) return undefined;
    for (const name of ['anyOf', 'oneOf'] as const) {
      if (older[name]?.every((one) => this.accepts(one, part))) return undefined;
    }
    return fault;
  }

  private directRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const { pointer } = part;
    const at = (keyword: string, reason: string): SchemaFault => {
      return { pointer: `${pointer}/${keyword}`, reason };
    };
    if (part.types) {
      const { types } = part;
      const lost = [...typesOf(older)].filter((name) => !isTypeIn(name, types));
      return lost.length === 0 ? undefined : at('type', `allows no ${lost.join(', ')} any more`);
    }
    if (part.values) return this.valuesRefusal(older, part);
    if (part.allOf) return firstOf(part.allOf, (one) => this.refusal(older, one));
    if (part.anyOf) {
      const { anyOf } = part;
      if (anyOf.some((one) => this.accepts(older, one))) return undefined;
      return at('anyOf', 'has no branch that allows all that was allowed');
    }
    if (part.oneOf) {
      const isSame = older.oneOf && sameTexts(older.oneOf, part.oneOf);
      return isSame
        ? undefined
        : at('oneOf', 'is not the same, so more branches may match at once');
    }
    if (part.not) {
      const isNarrower = older.not && this.accepts(part.not, older.not);
      return isNarrower ? undefined : at('not', 'forbids what was allowed');
    }
    if (part.if) return this.conditionRefusal(older, part);
    const types = typesOf(older);
    if (isNumeric(part)) {
      return types.has('number') || types.has('integer')
        ? numberRefusal(older, part, types)
        : undefined;
    }
    if (isAbout(part, TEXT_KEYWORDS)) {
      return types.has('string') ? textRefusal(older, part) : undefined;
    }
    if (isAbout(part, LIST_KEYWORDS)) {
      return types.has('array') ? this.listRefusal(older, part) : undefined;
    }
    return types.has('object') ? this.objectRefusal(older, part) : undefined;
  }

  private valuesRefusal(older: Schema, { pointer, values = [] }: Schema): SchemaFault | undefined {
    const allowed = new Set(values.map(({ canonical }) => canonical));
    const place = `${pointer}/enum`;
    const before = older.values?.map(({ canonical }) => canonical) ?? finiteValues(older);
    if (!before)
      return { pointer: place, reason: 'allows these values alone, others were allowed' };
    const lost = before.filter((value) => !allowed.has(value));
    if (lost.length === 0) return undefined;
    return { pointer: place, reason: `does not allow ${shortened(lost.join(', '))} any more` };
  }

  /** Equal conditions choose the same branch. */
  private conditionRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const isSame = older.if && part.if && textOf(older.if) === textOf(part.if);
    if (!isSame) return { pointer: `${part.pointer}/if`, reason: 'is a new or another condition' };
    for (const name of ['then', 'else'] as const) {
      const inner = part[name];
      const fault = inner && this.refusal(older[name] ?? ANYTHING, inner);
      if (fault) return fault;
    }
    return undefined;
  }

  private listRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const { pointer } = part;
    const { minItems = 0, maxItems = Infinity } = older;
    const longest = maxItems;
    if (part.minItems !== undefined && minItems < part.minItems) {
      return { pointer: `${pointer}/minItems`, reason: `is more than ${minItems}` };
    }
    if (part.maxItems !== undefined && longest > part.maxItems) {
      return { pointer: `${pointer}/maxItems`, reason: 'is less than before' };
    }
    if (part.uniqueItems && !older.uniqueItems && longest > 1) {
      return { pointer: `${pointer}/uniqueItems`, reason: 'is new' };
    }
    if (part.contains && !hasSameContains(older, part)) {
      return { pointer: `${pointer}/contains`, reason: 'is new, or not the same' };
    }
    if (!part.prefixItems && !part.items) return undefined;
    const { prefixItems = [], items } = part;
    const elementOf = (index: number) => older.prefixItems?.[index] ?? older.items;
    const named = Math.min(Math.max(prefixItems.length, older.prefixItems?.length ?? 0), longest);
    for (let index = 0; index < named; index += 1) {
      const wanted = prefixItems[index] ?? items;
      const fault = wanted && this.refusal(elementOf(index) ?? ANYTHING, wanted);
      if (fault) return fault;
    }
    return items && longest > named ? this.refusal(older.items ?? ANYTHING, items) : undefined;
  }

  private objectRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const { pointer } = part;
    const required = new Set(older.required);
    const missing = part.required?.filter((name) => !required.has(name)) ?? [];
    if (missing.length > 0) {
      return { pointer: `${pointer}/required`, reason: `requires ${missing.join(', ')}` };
    }
    const least = Math.max(older.minProperties ?? 0, required.size);
    if (part.minProperties !== undefined && least < part.minProperties) {
      return { pointer: `${pointer}/minProperties`, reason: `is more than ${least}` };
    }
    const most = Math.min(older.maxProperties ?? Infinity, namesOf(older)?.length ?? Infinity);
    if (part.maxProperties !== undefined && most > part.maxProperties) {
      return { pointer: `${pointer}/maxProperties`, reason: 'is less than before' };
    }
    for (const [name, needed] of part.dependentRequired ?? []) {
      const known = new Set([...(older.dependentRequired?.get(name) ?? []), ...required]);
      const added = needed.filter((one) => !known.has(one));
      if (added.length > 0) {
        const reason = `requires ${added.join(', ')} beside ${name}`;
        return { pointer: `${pointer}/dependentRequired`, reason };
      }
    }
    for (const [name, inner] of part.dependentSchemas ?? []) {
      const before = older.dependentSchemas?.get(name);
      if (before && this.accepts(before, inner)) continue;
      const fault = this.refusal(older, inner);
      if (fault) return fault;
    }
    if (part.propertyNames && !this.acceptsNames(older, part.propertyNames)) {
      return { pointer: `${pointer}/propertyNames`, reason: 'allows less than before' };
    }
    return this.membersRefusal(older, part);
  }

  private acceptsNames(older: Schema, names: Schema): boolean {
    const before = older.propertyNames;
    const asText: Schema = { pointer: '', types: new Set<TypeName>(['string']) };
    return this.accepts(before ? { pointer: '', allOf: [asText, before] } : asText, names);
  }

  /** The values of `properties`, `patternProperties` and `additionalProperties`, by the names that both schemas may have. */
  private membersRefusal(older: Schema, part: Schema): SchemaFault | undefined {
    const { properties, patternProperties, additionalProperties } = part;
    for (const [name, inner] of properties ?? []) {
      const fault = this.memberRefusal(older, name, inner);
      if (fault) return fault;
    }
    const patterns = [...(patternProperties ?? [])];
    for (const [text, { pattern, schema }] of patterns) {
      const same = older.patternProperties?.get(text)?.schema;
      if (same && this.accepts(same, schema)) continue;
      const names = [...(older.properties?.keys() ?? [])].filter((name) => pattern.test(name));
      const fault =
        firstOf(names, (name) => this.memberRefusal(older, name, schema)) ??
        this.otherMembersRefusal(older, schema, () => false);
      if (fault) return fault;
    }
    if (!additionalProperties) return undefined;
    const isNamed = (name: string) =>
      properties?.has(name) === true || patterns.some(([, { pattern }]) => pattern.test(name));
    const others = [...(older.properties?.keys() ?? [])].filter((name) => !isNamed(name));
    return (
      firstOf(others, (name) => this.memberRefusal(older, name, additionalProperties)) ??
      this.otherMembersRefusal(
        older,
        additionalProperties,
        (text) => patternProperties?.has(text) === true,
      )
    );
  }

  /** The values that `older` allows for this name. */
  private memberRefusal(older: Schema, name: string, newer: Schema): SchemaFault | undefined {
    const own = older.properties?.get(name);
    const matching = [...(older.patternProperties?.values() ?? [])]
      .filter(({ pattern }) => pattern.test(name))
      .map(({ schema }) => schema);
    const all = own ? [own, ...matching] : matching;
    if (all.some((one) => this.accepts(one, newer))) return undefined;
    if (all.length > 0) return this.refusal(all[0] ?? ANYTHING, newer);
    const fault = this.refusal(older.additionalProperties ?? ANYTHING, newer);
    if (!fault || older.additionalProperties) return fault;
    const reason = `constrains a member that was free: ${fault.reason}. Members can be added to a schema with additionalProperties: false`;
    return { pointer: newer.pointer, reason };
  }

  /** The values of names that `properties` of `older` does not have. */
  private otherMembersRefusal(
    older: Schema,
    newer: Schema,
    isExempt: (pattern: string) => boolean,
  ): SchemaFault | undefined {
    const byPattern = [...(older.patternProperties ?? [])].filter(([text]) => !isExempt(text));
    return (
      firstOf(byPattern, ([, { schema }]) => this.refusal(schema, newer)) ??
      this.refusal(older.additionalProperties ?? ANYTHING, newer)
    );
  }
}

const TEXT_KEYWORDS = ['minLength', 'maxLength', 'pattern'] as const;
const LIST_KEYWORDS = [
  'minItems',
  'maxItems',
  'uniqueItems',
  'prefixItems',
  'items',
  'contains',
] as const;
const ALL_TYPES: ReadonlySet<TypeName> = new Set<TypeName>([
  'null',
  'boolean',
  'object',
  'array',
  'number',
  'string',
]);

type Keyword = Exclude<keyof Schema, 'pointer' | 'isNever'>;

/** Keywords that are decided together. */
const GROUPS: readonly (readonly Keyword[])[] = [
  ['types'],
  ['values'],
  ['allOf'],
  ['anyOf'],
  ['oneOf'],
  ['not'],
  ['if', 'then', 'else'],
  ...NUMBER_BOUNDS.map((name) => [name] as const),
  ...TEXT_KEYWORDS.map((name) => [name] as const),
  ['minItems'],
  ['maxItems'],
  ['uniqueItems'],
  ['contains', 'minContains', 'maxContains'],
  ['prefixItems', 'items'],
  ['minProperties'],
  ['maxProperties'],
  ['required'],
  ['dependentRequired'],
  ['dependentSchemas'],
  ['propertyNames'],
  ['properties', 'patternProperties', 'additionalProperties'],
];

function partsOf(schema: Schema): Schema[] {
  const { pointer } = schema;
  return GROUPS.flatMap((group) => {
    const given = group.filter((name) => schema[name] !== undefined);
    if (given.length === 0) return [];
    return [{ pointer, ...Object.fromEntries(given.map((name) => [name, schema[name]])) }];
  });
}

function isAbout(part: Schema, keywords: readonly Keyword[]): boolean {
  return keywords.some((name) => part[name] !== undefined);
}

const isNumeric = (part: Schema) => isAbout(part, NUMBER_BOUNDS);

function isAnything(schema: Schema): boolean {
  return !schema.isNever && !GROUPS.some((group) => isAbout(schema, group));
}

function firstOf<T, R>(all: readonly T[], find: (one: T) => R | undefined): R | undefined {
  for (const one of all) {
    const found = find(one);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Types that values of a schema may have. */
function typesOf(schema: Schema): ReadonlySet<TypeName> {
  if (schema.values) return new Set(schema.values.map(({ canonical }) => typeOf(canonical)));
  return schema.types ?? ALL_TYPES;
}

function typeOf(canonical: string): TypeName {
  const [first = ''] = canonical;
  if (first === '"') return 'string';
  if (first === '{') return 'object';
  if (first === '[') return 'array';
  if (first === 'n') return 'null';
  if (first === 't' || first === 'f') return 'boolean';
  return decimalOf(canonical).exponent >= 0 ? 'integer' : 'number';
}

function isTypeIn(name: TypeName, types: ReadonlySet<TypeName>): boolean {
  return types.has(name) || (name === 'integer' && types.has('number'));
}

/** The texts of all values, where the types leave few. */
function finiteValues({ types }: Schema): string[] | undefined {
  const values: string[] = [];
  for (const name of types ?? ALL_TYPES) {
    if (name === 'null') values.push('null');
    else if (name === 'boolean') values.push('true', 'false');
    else return undefined;
  }
  return values;
}

function numberRefusal(
  older: Schema,
  part: Schema,
  types: ReadonlySet<TypeName>,
): SchemaFault | undefined {
  for (const name of NUMBER_BOUNDS) {
    const bound = part[name];
    if (!bound || followsFrom(older, name, bound, types)) continue;
    const pointer = `${part.pointer}/${name}`;
    return { pointer, reason: `(${bound.text}) allows less than before` };
  }
  return undefined;
}

function followsFrom(
  older: Schema,
  name: (typeof NUMBER_BOUNDS)[number],
  { decimal }: Bound,
  types: ReadonlySet<TypeName>,
): boolean {
  if (older.values) {
    const numbers = older.values
      .filter(({ canonical }) => ['integer', 'number'].includes(typeOf(canonical)))
      .map(({ canonical }) => decimalOf(canonical));
    return numbers.every((number) => isWithin(number, name, decimal));
  }
  const order = (bound: Bound | undefined, fallback: number) =>
    bound ? compareDecimals(bound.decimal, decimal) : fallback;
  switch (name) {
    case 'minimum':
      return order(older.minimum, -1) >= 0 || order(older.exclusiveMinimum, -1) >= 0;
    case 'exclusiveMinimum':
      return order(older.minimum, -1) > 0 || order(older.exclusiveMinimum, -1) >= 0;
    case 'maximum':
      return order(older.maximum, 1) <= 0 || order(older.exclusiveMaximum, 1) <= 0;
    case 'exclusiveMaximum':
      return order(older.maximum, 1) < 0 || order(older.exclusiveMaximum, 1) <= 0;
    case 'multipleOf':
      return (
        (older.multipleOf !== undefined && isMultiple(older.multipleOf.decimal, decimal)) ||
        (!types.has('number') && isMultiple(decimalOf('1'), decimal))
      );
  }
}

function isWithin(number: Decimal, name: (typeof NUMBER_BOUNDS)[number], bound: Decimal): boolean {
  const order = compareDecimals(number, bound);
  switch (name) {
    case 'minimum':
      return order >= 0;
    case 'exclusiveMinimum':
      return order > 0;
    case 'maximum':
      return order <= 0;
    case 'exclusiveMaximum':
      return order < 0;
    case 'multipleOf':
      return isMultiple(number, bound);
  }
}

function textRefusal(older: Schema, part: Schema): SchemaFault | undefined {
  const { pointer, minLength, maxLength, pattern } = part;
  const texts = older.values?.flatMap(({ value }) => (typeof value === 'string' ? [value] : []));
  const lengths = texts?.map((text) => [...text].length);
  const shortest = lengths ? Math.min(...lengths) : (older.minLength ?? 0);
  const longest = lengths ? Math.max(...lengths) : (older.maxLength ?? Infinity);
  if (minLength !== undefined && shortest < minLength) {
    return { pointer: `${pointer}/minLength`, reason: `is more than ${shortest}` };
  }
  if (maxLength !== undefined && longest > maxLength) {
    return { pointer: `${pointer}/maxLength`, reason: 'is less than before' };
  }
  if (!pattern || older.pattern?.text === pattern.text) return undefined;
  if (texts?.every((text) => pattern.test(text))) return undefined;
  const reason = 'is new or another one, and patterns are not compared';
  return { pointer: `${pointer}/pattern`, reason };
}

function hasSameContains(older: Schema, part: Schema): boolean {
  return (
    older.contains !== undefined &&
    part.contains !== undefined &&
    textOf(older.contains) === textOf(part.contains) &&
    (older.minContains ?? 1) >= (part.minContains ?? 1) &&
    (older.maxContains ?? Infinity) <= (part.maxContains ?? Infinity)
  );
}

/** The names of all members, where no others are allowed. */
function namesOf({ properties, patternProperties, additionalProperties }: Schema) {
  const isClosed = additionalProperties?.isNever === true && !patternProperties;
  return isClosed ? [...(properties?.keys() ?? [])] : undefined;
}

function sameTexts(left: readonly Schema[], right: readonly Schema[]): boolean {
  const [one, other] = [left, right].map((schemas) => schemas.map(textOf).sort().join('\n'));
  return one === other;
}

const texts = new WeakMap<Schema, string>();

/** One text for equal schemas, whatever their place. */
function textOf(schema: Schema): string {
  let text = texts.get(schema);
  if (text === undefined) {
    text = JSON.stringify(plainOf(schema));
    texts.set(schema, text);
  }
  return text;
}

function plainOf(schema: Schema): unknown {
  if (schema.isNever) return false;
  const sorted = (names: Iterable<string>) => [...names].sort();
  const byName = (map: ReadonlyMap<string, Schema>) =>
    sorted(map.keys()).map((name) => [name, plainOf(map.get(name) ?? ANYTHING)]);
  const members: [string, unknown][] = [];
  const add = (name: string, value: unknown) => members.push([name, value]);
  if (schema.types) add('type', sorted(schema.types));
  if (schema.values) add('values', sorted(schema.values.map(({ canonical }) => canonical)));
  for (const name of NUMBER_BOUNDS) {
    const bound = schema[name];
    if (bound) add(name, normalNumber(bound.text));
  }
  for (const name of SIZE_BOUNDS) if (schema[name] !== undefined) add(name, schema[name]);
  if (schema.pattern) add('pattern', schema.pattern.text);
  if (schema.uniqueItems) add('uniqueItems', true);
  if (schema.required) add('required', sorted(schema.required));
  if (schema.properties) add('properties', byName(schema.properties));
  if (schema.patternProperties) {
    const inner = [...schema.patternProperties].map(([text, one]) => [text, one.schema] as const);
    add('patternProperties', byName(new Map(inner)));
  }
  if (schema.dependentSchemas) add('dependentSchemas', byName(schema.dependentSchemas));
  if (schema.dependentRequired) {
    const { dependentRequired } = schema;
    const names = sorted(dependentRequired.keys());
    add(
      'dependentRequired',
      names.map((name) => [name, sorted(dependentRequired.get(name) ?? [])]),
    );
  }
  if (schema.prefixItems) add('prefixItems', schema.prefixItems.map(plainOf));
  for (const name of BRANCHES) {
    const branches = schema[name];
    if (branches) add(name, branches.map(plainOf));
  }
  for (const name of SINGLE_SUBSCHEMAS) {
    const inner = schema[name];
    if (inner) add(name, plainOf(inner));
  }
  return members;
}

function shortened(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
