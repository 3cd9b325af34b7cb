import {
  Kind,
  OperationTypeNode,
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';

/** The mutations that store events. */
const WRITES = new Set(['createAuditEvent', 'bulkCreateAuditEvents']);

/** The operation of a document that is to be run; undefined when there is none of that name. */
function operationIn(
  { definitions }: DocumentNode,
  operationName: string | null | undefined,
): OperationDefinitionNode | undefined {
  return definitions.find(
    (definition): definition is OperationDefinitionNode =>
      definition.kind === Kind.OPERATION_DEFINITION &&
      (!operationName || definition.name?.value === operationName),
  );
}

/** `graphql query auditEvent`: names of the schema alone, so that no client invents labels. */
export function routeNameOf(
  document: DocumentNode,
  operationName: string | null | undefined,
  schema: GraphQLSchema,
): string {
  const operation = operationIn(document, operationName);
  if (!operation) return 'graphql';
  const fields = schema.getRootType(operation.operation)?.getFields() ?? {};
  const first = operation.selectionSet.selections.find(({ kind }) => kind === Kind.FIELD);
  const name = first?.kind === Kind.FIELD ? first.name.value : '';
  return Object.hasOwn(fields, name)
    ? `graphql ${operation.operation} ${name}`
    : `graphql ${operation.operation}`;
}

/** Whether an operation writes events at most once: an idempotency key can stand for all of it. */
export function isOneWrite(
  document: DocumentNode,
  operationName: string | null | undefined,
): boolean {
  const operation = operationIn(document, operationName);
  if (operation?.operation !== OperationTypeNode.MUTATION) return true;
  const names = rootsOf(operation.selectionSet, document, new Set()).map(({ name }) => name.value);
  return names.length === 1 || !names.some((name) => WRITES.has(name));
}

/** The root fields of an operation, through fragments too. */
function rootsOf(
  { selections }: SelectionSetNode,
  document: DocumentNode,
  seen: Set<string>,
): FieldNode[] {
  return selections.flatMap((selection) => {
    if (selection.kind === Kind.FIELD) return [selection];
    if (selection.kind === Kind.INLINE_FRAGMENT) {
      return rootsOf(selection.selectionSet, document, seen);
    }
    const name = selection.name.value;
    const fragment = document.definitions.find(
      (one) => one.kind === Kind.FRAGMENT_DEFINITION && one.name.value === name,
    );
    if (fragment?.kind !== Kind.FRAGMENT_DEFINITION || seen.has(name)) return [];
    seen.add(name); // the same fields again are the same fields, and a ring has an end
    return rootsOf(fragment.selectionSet, document, seen);
  });
}
