import {
  Kind,
  OperationTypeNode,
  type DocumentNode,
  type FieldNode,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import { validationFailed } from '../../platform/errors/app-error';

const WRITES = new Set(['createAuditEvent', 'bulkCreateAuditEvents']);

/** 49 of them, of an event with 80 000 numbers that a double cannot hold, took more than a second to write. */
const MAX_METADATA = 2;

/** Selections by one name in the response, where their own selections are merged. */
export type SameField = [FieldNode, ...FieldNode[]];

type Fragments = Record<string, { readonly selectionSet: SelectionSetNode }>;

/** The selections within these nodes, through fragments too; `@skip` and `@include` count for nothing. */
export function selectedIn(
  nodes: readonly { readonly selectionSet?: SelectionSetNode | undefined }[],
  fragments: Fragments,
): SameField[] {
  const fields = new Map<string, SameField>();
  const seen = new Set<string>();
  const take = (set: SelectionSetNode | undefined): void => {
    for (const selection of set?.selections ?? []) {
      if (selection.kind === Kind.FIELD) {
        const key = (selection.alias ?? selection.name).value;
        const same = fields.get(key);
        if (same) same.push(selection);
        else fields.set(key, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        take(selection.selectionSet);
      } else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value);
        take(fragments[selection.name.value]?.selectionSet);
      }
    }
  };
  for (const { selectionSet } of nodes) take(selectionSet);
  return [...fields.values()];
}

/** How often the response repeats the field that is selected most often, under any aliases: it may be as many times as large as what was read. */
export function copiesIn(selected: readonly SameField[], fragments: Fragments): number {
  const counts = new Map<string, number>();
  const count = (fields: readonly SameField[], parent: string): void => {
    for (const same of fields) {
      const [{ name, selectionSet }] = same;
      const path = `${parent}.${name.value}`;
      if (selectionSet) count(selectedIn(same, fragments), path);
      else counts.set(path, (counts.get(path) ?? 0) + 1);
    }
  };
  count(selected, '');
  return Math.max(1, ...counts.values());
}

/** Refuses repetitions of the one large member of an event, before there is an event. @throws AppError VALIDATION_FAILED */
export function requireFewMetadata({ fieldNodes, fragments }: GraphQLResolveInfo): void {
  const fields = selectedIn(fieldNodes, fragments);
  const metadata = fields.filter(([{ name }]) => name.value === 'metadata');
  if (metadata.length <= MAX_METADATA) return;
  const message = `must be selected at most ${MAX_METADATA} times, not ${metadata.length}`;
  throw validationFailed([{ path: 'metadata', message }]);
}

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

/** `graphql query auditEvent`: names of the schema alone, so that no client invents labels of metrics. */
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

/** Whether an operation writes events at most once, so that an idempotency key can stand for all of it. */
export function isOneWrite(
  document: DocumentNode,
  operationName: string | null | undefined,
): boolean {
  const operation = operationIn(document, operationName);
  if (operation?.operation !== OperationTypeNode.MUTATION) return true;
  const fragments = Object.fromEntries(
    document.definitions.flatMap((one) =>
      one.kind === Kind.FRAGMENT_DEFINITION ? [[one.name.value, one]] : [],
    ),
  );
  const fields = selectedIn([operation], fragments).flat();
  return fields.length === 1 || !fields.some(({ name }) => WRITES.has(name.value));
}
