import {
  getNamedType,
  isInputObjectType,
  isListType,
  isNonNullType,
  Kind,
  typeFromAST,
  type DocumentNode,
  type GraphQLInputType,
  type GraphQLSchema,
  type TypeNode,
} from 'graphql';
import { MAX_LIST_ELEMENTS } from '../../audit/read/dto/audit-events-query.dto';
import { validationFailed } from '../../platform/errors/app-error';

/** What the limits of a document depend on. */
export interface DocumentShapes {
  schema: GraphQLSchema;
  /** Entries of a page whose `limit` is left out. */
  defaultLimit: number;
  /** BULK_MAX_EVENTS. */
  maxBulkEvents: number;
}

/**
 * Refuses lists in variables that no field would take, before GraphQL coerces each of their elements: of 400 000
 * names that takes a tenth of a second, in which the process does nothing else.
 * @throws AppError VALIDATION_FAILED that names the list and how long it may be.
 */
export function requireShortLists(
  { definitions }: DocumentNode,
  variables: Record<string, unknown>,
  { schema, maxBulkEvents }: Pick<DocumentShapes, 'schema' | 'maxBulkEvents'>,
): void {
  for (const definition of definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    for (const { variable, type } of definition.variableDefinitions ?? []) {
      const { value: name } = variable.name;
      const declared = inputTypeOf(schema, type);
      if (declared && Object.hasOwn(variables, name)) {
        requireShort(declared, variables[name], name, maxBulkEvents);
      }
    }
  }
}

/** Undefined for a type that the schema does not have: validation says so. */
function inputTypeOf(schema: GraphQLSchema, type: TypeNode): GraphQLInputType | undefined {
  if (type.kind === Kind.NON_NULL_TYPE) return inputTypeOf(schema, type.type);
  return typeFromAST(schema, type as never) as GraphQLInputType | undefined;
}

function requireShort(
  type: GraphQLInputType,
  value: unknown,
  path: string,
  maxObjects: number,
): void {
  if (isNonNullType(type)) return requireShort(type.ofType, value, path, maxObjects);
  if (isListType(type)) {
    if (!Array.isArray(value)) return;
    // Events are the only objects that come in lists, and hold no lists themselves.
    const max = isInputObjectType(getNamedType(type)) ? maxObjects : MAX_LIST_ELEMENTS;
    if (value.length <= max) return;
    const message = `must be at most ${max} elements, not ${value.length}`;
    throw validationFailed([{ path, message }]);
  }
  if (!isInputObjectType(type) || typeof value !== 'object' || value === null) return;
  for (const field of Object.values(type.getFields())) {
    const member = (value as Record<string, unknown>)[field.name];
    if (member !== undefined) requireShort(field.type, member, `${path}.${field.name}`, maxObjects);
  }
}
