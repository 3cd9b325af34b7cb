import {
  GraphQLBoolean,
  GraphQLEnumType,
  GraphQLError,
  GraphQLFloat,
  GraphQLID,
  GraphQLInputObjectType,
  type GraphQLInputType,
  GraphQLInt,
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  type GraphQLOutputType,
  GraphQLScalarType,
  GraphQLString,
  Kind,
  type ValueNode,
} from 'graphql';
import { epochHint } from '../../platform/runtime/instant';
import { parseExactJson, UnacceptableJsonError } from '../../platform/runtime/lossless-json';

/** A class whose members carry OpenAPI metadata. */
export type Dto = new () => object;

/** The metadata of `@ApiProperty`. */
interface Described {
  type?: unknown;
  isArray?: boolean;
  enum?: readonly string[];
  items?: { type?: string; enum?: readonly string[] };
  format?: string;
  required?: boolean;
  nullable?: boolean;
  description?: string;
}

/** Differences from the OpenAPI description. */
export interface Naming {
  name?: string;
  omit?: readonly string[];
  types?: Record<string, GraphQLInputType & GraphQLOutputType>;
  defaults?: Record<string, unknown>;
  /** Whether whole numbers fit 32 bits. Counters and bytes of long-lived processes do not. */
  hasSmallIntegers?: boolean;
}

type Shape = 'input' | 'output';
type Leaf = GraphQLInputType & GraphQLOutputType;

/** GraphQL types of the DTO classes, read from their OpenAPI metadata. A member of unknown type stops the boot. */
export class DerivedTypes {
  private readonly objects = new Map<Dto, GraphQLObjectType>();
  private readonly inputs = new Map<Dto, GraphQLInputObjectType>();
  private readonly enums = new Map<string, GraphQLEnumType>();

  /** `enumNames` by the words, joined with `|`. */
  constructor(
    private readonly namings: ReadonlyMap<Dto, Naming>,
    private readonly enumNames: Readonly<Record<string, string>>,
  ) {}

  output(dto: Dto): GraphQLObjectType {
    const name = this.typeNameOf(dto, 'output');
    const fields = () => this.fieldsOf(dto, 'output');
    return getOrMake(this.objects, dto, () => new GraphQLObjectType({ name, fields }));
  }

  input(dto: Dto): GraphQLInputObjectType {
    const name = this.typeNameOf(dto, 'input');
    const fields = () => this.fieldsOf(dto, 'input');
    return getOrMake(this.inputs, dto, () => new GraphQLInputObjectType({ name, fields }));
  }

  /** The enum of these words: in capitals outside, as they are inside. */
  words(words: readonly string[]): GraphQLEnumType {
    const key = words.join('|');
    const name = this.enumNames[key];
    if (name === undefined) throw new Error(`The words ${key} have no GraphQL name.`);
    const values = Object.fromEntries(words.map((word) => [word.toUpperCase(), { value: word }]));
    return getOrMake(this.enums, key, () => new GraphQLEnumType({ name, values }));
  }

  private typeNameOf(dto: Dto, shape: Shape): string {
    const named = this.namings.get(dto)?.name;
    if (named !== undefined && !(shape === 'output' && named.endsWith('Input'))) return named;
    const plain = dto.name.replace(/Dto$/, '');
    return shape === 'input' ? `${plain}Input` : plain;
  }

  private fieldsOf(dto: Dto, shape: Shape): Record<string, { type: Leaf; defaultValue: unknown }> {
    const { omit = [], defaults = {} } = this.namings.get(dto) ?? {};
    const prototype = dto.prototype as object;
    const names = Reflect.getMetadata('swagger/apiModelPropertiesArray', prototype) as
      string[] | undefined;
    const fields = (names ?? [])
      .map((name) => name.slice(1))
      .filter((member) => !omit.includes(member))
      .map((member) => {
        const described = Reflect.getMetadata(
          'swagger/apiModelProperties',
          prototype,
          member,
        ) as Described;
        const { required = true, nullable = false, description } = described;
        const bare = this.bareType(dto, member, described, shape);
        const type = required && !nullable ? new GraphQLNonNull(bare) : bare;
        return [member, { type, description, defaultValue: defaults[member] }] as const;
      });
    return Object.fromEntries(fields);
  }

  private bareType(dto: Dto, member: string, described: Described, shape: Shape): Leaf {
    const naming = this.namings.get(dto);
    const given = naming?.types?.[member];
    if (given) return given;
    const many = (element: Leaf): Leaf => new GraphQLList(new GraphQLNonNull(element));
    const { items } = described;
    if (items) return many(items.enum ? this.words(items.enum) : GraphQLString);
    if (described.enum) return this.words(described.enum);
    const isLazy = typeof described.type === 'function' && described.type.name === 'type';
    const raw: unknown = isLazy ? (described.type as () => unknown)() : described.type;
    const element: unknown = Array.isArray(raw) ? raw[0] : raw;
    const leaf = this.leafOf(element, described, shape, naming?.hasSmallIntegers ?? false);
    if (!leaf) throw new Error(`${dto.name}.${member} has no type that GraphQL could take over.`);
    return Array.isArray(raw) || described.isArray ? many(leaf) : leaf;
  }

  private leafOf(
    type: unknown,
    { format }: Described,
    shape: Shape,
    isSmall: boolean,
  ): Leaf | undefined {
    if (type === String || type === 'string') {
      if (format === 'date-time') return DATE_TIME;
      return format === 'uuid' ? GraphQLID : GraphQLString;
    }
    if (type === Number || type === 'number') return GraphQLFloat;
    if (type === 'integer') return shape === 'input' || isSmall ? GraphQLInt : GraphQLFloat;
    if (type === Boolean || type === 'boolean') return GraphQLBoolean;
    if (type === 'object') return JSON_VALUE;
    if (typeof type !== 'function') return undefined;
    return (shape === 'input' ? this.input(type as Dto) : this.output(type as Dto)) as Leaf;
  }
}

function getOrMake<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}

/** An instant as text: every digit stays, and the DTO classes validate it as for REST. */
export const DATE_TIME = new GraphQLScalarType({
  name: 'DateTime',
  description:
    'An ISO 8601 instant with up to nine digits of a second, such as 2026-11-23T10:30:00.123456Z.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  serialize: (value) => value,
  parseValue: requireText,
  parseLiteral: (node) =>
    requireText(
      node.kind === Kind.STRING
        ? node.value
        : node.kind === Kind.INT
          ? Number(node.value)
          : undefined,
    ),
});

function requireText(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new GraphQLError(
    `DateTime must be text such as 2026-11-23T10:30:00.123456Z${epochHint(value)}.`,
  );
}

/** Numbers keep their text: values from variables are the objects that parseExactJson made. */
export const JSON_VALUE = new GraphQLScalarType({
  name: 'JSON',
  description: 'Any JSON value. Every number keeps its exact decimal value.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc8259',
  serialize: (value) => value,
  parseValue: (value) => value,
  parseLiteral: (node) => {
    try {
      return parseExactJson(jsonTextOf(node));
    } catch (error) {
      if (error instanceof UnacceptableJsonError) throw new GraphQLError(`JSON ${error.message}.`);
      throw error;
    }
  },
});

/** A literal as JSON text, its numbers in their own spelling. */
function jsonTextOf(node: ValueNode): string {
  switch (node.kind) {
    case Kind.INT:
    case Kind.FLOAT:
      return node.value;
    case Kind.STRING:
    case Kind.ENUM:
      return JSON.stringify(node.value);
    case Kind.BOOLEAN:
      return String(node.value);
    case Kind.NULL:
      return 'null';
    case Kind.LIST:
      return `[${node.values.map(jsonTextOf).join(',')}]`;
    case Kind.OBJECT:
      return `{${node.fields
        .map(({ name, value }) => `${JSON.stringify(name.value)}:${jsonTextOf(value)}`)
        .join(',')}}`;
    case Kind.VARIABLE:
      throw new GraphQLError('JSON literals hold no variables; send the whole value as one.');
  }
}
