import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';
import { parseExactJson, UnacceptableJsonError } from '../../platform/runtime/lossless-json';

/** An instant as text: microseconds stay, and the DTO classes validate it as for REST. */
export const DATE_TIME = new GraphQLScalarType({
  name: 'DateTime',
  description: 'An ISO 8601 instant with up to microseconds, such as 2026-11-23T10:30:00.123456Z.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  serialize: (value) => value,
  parseValue: requireText,
  parseLiteral: (node) => requireText(node.kind === Kind.STRING ? node.value : undefined),
});

function requireText(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new GraphQLError('DateTime must be text such as 2026-11-23T10:30:00.123456Z.');
}

/** Numbers keep their text: values from variables are the objects that parseExactJson made. */
export const JSON_VALUE = new GraphQLScalarType({
  name: 'JSON',
  description: 'Any JSON value. Every number keeps its exact decimal value.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc8259',
  serialize: (value) => value,
  parseValue: (value) => value,
  parseLiteral: (node, variables) => {
    try {
      return parseExactJson(jsonTextOf(node, variables ?? {}));
    } catch (error) {
      if (error instanceof UnacceptableJsonError) throw new GraphQLError(`JSON ${error.message}.`);
      throw error;
    }
  },
});

/** A literal as JSON text, its numbers in their own spelling. */
function jsonTextOf(node: ValueNode, variables: Record<string, unknown>): string {
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
      return `[${node.values.map((value) => jsonTextOf(value, variables)).join(',')}]`;
    case Kind.OBJECT:
      return `{${node.fields
        .map(({ name, value }) => `${JSON.stringify(name.value)}:${jsonTextOf(value, variables)}`)
        .join(',')}}`;
    case Kind.VARIABLE:
      throw new GraphQLError('JSON literals hold no variables; send the whole value as one.');
  }
}
