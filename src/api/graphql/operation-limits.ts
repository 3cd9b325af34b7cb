import {
  getNamedType,
  GraphQLError,
  isInputObjectType,
  isListType,
  isNonNullType,
  Kind,
  typeFromAST,
  valueFromASTUntyped,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLInputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type TypeNode,
  type ValueNode,
} from 'graphql';
import { MAX_COUNTED_VALUES } from '../../audit/read/count-tally';
import { MAX_BUCKETS } from '../../audit/read/event-counts';
import { MAX_LIST_ELEMENTS } from '../../audit/read/dto/audit-events-query.dto';
import { validationFailed } from '../../platform/errors/app-error';

/** Rules of validation visit each variable in each fragment: 1100 of both took 0.3 s, 100 take 0.02 s. */
const MAX_FRAGMENTS = 100;
const MAX_VARIABLES = 100;
/** Selections of one field are compared in pairs, with all that is in them: 1200 took 0.14 s. */
const MAX_SELECTIONS = 100;
/** The deepest usual document is the introspection query of tools, with about 14 levels. */
export const MAX_DEPTH = 20;
const MAX_ALIASES = 50;
/** A response repeats its field names at each entry of a page. */
const MAX_ALIAS_CHARACTERS = 100;
const MAX_ROOT_FIELDS = 20;
const MAX_OPERATIONS = 20;
/** A page of 1000 with all members costs 24 000. */
const MAX_COST = 50_000;
/** A result of a bulk write has four fields. 10 000 results with 48 each took a second. */
const MAX_RESULT_FIELDS = 10;
/** Above every limit: keeps sums of sums finite. */
const CEILING = 1_000_000;

const LIST_FIELD = 'optimizedAuditEvents';
const COUNTS_FIELD = 'auditEventCounts';
const RESULTS_FIELD = 'results';

/**
 * Refuses a document that would cost too much, before anything validates or runs it. Each fragment is counted once, so
 * that counting takes no longer than the document is. @throws GraphQLError that names the limit.
 */
export function requireWithinLimits(
  document: DocumentNode,
  variables: Record<string, unknown>,
  defaultLimit: number,
): void {
  const operations = operationsIn(document);
  requireAtMost('operations in one document', operations.length, MAX_OPERATIONS);
  requireAtMost('fragments', document.definitions.length - operations.length, MAX_FRAGMENTS);
  const defined = operations.reduce((sum, one) => sum + (one.variableDefinitions?.length ?? 0), 0);
  requireAtMost('variables', defined, MAX_VARIABLES);
  requireAtMost('selections of one field', mostSelected(document), MAX_SELECTIONS);
  for (const operation of operations) {
    const given = { ...defaultsOf(operation), ...variables };
    const analyzer = new CostAnalyzer(document, given, defaultLimit);
    const { depth, aliases, roots, points } = analyzer.cost(operation.selectionSet);
    requireAtMost('levels deep', depth, MAX_DEPTH);
    requireAtMost('aliases', aliases, MAX_ALIASES);
    requireAtMost('fields at the root', roots, MAX_ROOT_FIELDS);
    requireAtMost('points of cost', points, MAX_COST);
  }
}

/**
 * Refuses lists in variables that no field would take, before GraphQL coerces each element: of 400 000 names that
 * blocks the event loop for 0.1 s. @throws AppError VALIDATION_FAILED
 */
export function requireShortLists(
  document: DocumentNode,
  variables: Record<string, unknown>,
  schema: GraphQLSchema,
  maxBulkEvents: number,
): void {
  for (const { variableDefinitions = [] } of operationsIn(document)) {
    for (const { variable, type } of variableDefinitions) {
      const { value: name } = variable.name;
      const declared = inputTypeOf(schema, type);
      if (declared && Object.hasOwn(variables, name)) {
        requireShort(declared, variables[name], name, maxBulkEvents);
      }
    }
  }
}

function operationsIn({ definitions }: DocumentNode): OperationDefinitionNode[] {
  return definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
}

/** The most selections of one field, of those with a selection set of their own. */
function mostSelected({ definitions }: DocumentNode): number {
  const counts = new Map<string, number>();
  const sets = definitions.flatMap((one) => ('selectionSet' in one ? [one.selectionSet] : []));
  for (let set = sets.pop(); set; set = sets.pop()) {
    for (const selection of set.selections) {
      if (selection.kind === Kind.FRAGMENT_SPREAD || !selection.selectionSet) continue;
      sets.push(selection.selectionSet);
      if (selection.kind !== Kind.FIELD) continue;
      const name = (selection.alias ?? selection.name).value;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return Math.max(0, ...counts.values());
}

function defaultsOf({ variableDefinitions }: OperationDefinitionNode): Record<string, unknown> {
  return Object.fromEntries(
    (variableDefinitions ?? []).flatMap(({ variable, defaultValue }) =>
      defaultValue ? [[variable.name.value, valueFromASTUntyped(defaultValue)]] : [],
    ),
  );
}

function requireAtMost(what: string, actual: number, limit: number): void {
  if (actual <= limit) return;
  const found = actual < CEILING ? `, not ${actual}` : '';
  throw new GraphQLError(
    `The operation is too large: at most ${limit} ${what} are allowed${found}.`,
  );
}

interface Cost {
  depth: number;
  aliases: number;
  /** Fields of the selection itself. */
  roots: number;
  /** Those and all within them. */
  fields: number;
  /** Fields, those of a list once for each entry that is asked for. */
  points: number;
}

const SUMS = ['aliases', 'roots', 'fields', 'points'] as const;
const NOTHING: Cost = { depth: 0, aliases: 0, roots: 0, fields: 0, points: 0 };

class CostAnalyzer {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly costs = new Map<string, Cost>();

  constructor(
    document: DocumentNode,
    private readonly variables: Record<string, unknown>,
    private readonly defaultLimit: number,
  ) {
    for (const definition of document.definitions) {
      if (definition.kind !== Kind.FRAGMENT_DEFINITION) continue;
      this.fragments.set(definition.name.value, definition);
    }
  }

  cost({ selections }: SelectionSetNode): Cost {
    const total = { ...NOTHING };
    for (const selection of selections) {
      let one: Cost;
      if (selection.kind === Kind.FIELD) one = this.field(selection);
      else if (selection.kind === Kind.INLINE_FRAGMENT) one = this.cost(selection.selectionSet);
      else one = this.fragment(selection.name.value);
      total.depth = Math.max(total.depth, one.depth);
      for (const sum of SUMS) total[sum] = Math.min(CEILING, total[sum] + one[sum]);
    }
    return total;
  }

  private field(field: FieldNode): Cost {
    requireAtMost('characters in an alias', field.alias?.value.length ?? 0, MAX_ALIAS_CHARACTERS);
    const inner = field.selectionSet ? this.cost(field.selectionSet) : NOTHING;
    if (field.name.value === RESULTS_FIELD) {
      requireAtMost('fields of each result', inner.fields, MAX_RESULT_FIELDS);
    }
    const times = this.entriesOf(field);
    return {
      depth: inner.depth + 1,
      aliases: inner.aliases + (field.alias ? 1 : 0),
      roots: 1,
      fields: inner.fields + 1,
      points: Math.min(CEILING, 1 + inner.points * times),
    };
  }

  private fragment(name: string): Cost {
    const known = this.costs.get(name);
    if (known) return known;
    this.costs.set(name, NOTHING); // a ring of fragments is refused by validation
    const fragment = this.fragments.get(name);
    const cost = fragment ? this.cost(fragment.selectionSet) : NOTHING;
    this.costs.set(name, cost);
    return cost;
  }

  /** Entries of a list that the field may have. */
  private entriesOf(field: FieldNode): number {
    if (field.name.value === LIST_FIELD) return this.limitOf(field);
    if (field.name.value !== COUNTS_FIELD) return 1;
    const by = field.arguments?.find(({ name }) => name.value === 'by')?.value;
    const key =
      by?.kind === Kind.VARIABLE ? this.variables[by.name.value] : by && 'value' in by && by.value;
    return key === 'DAY' || key === 'HOUR' ? MAX_BUCKETS : MAX_COUNTED_VALUES;
  }

  private limitOf(field: FieldNode): number {
    const argument = field.arguments?.find(({ name }) => name.value === 'pagination');
    const limit = argument ? this.memberOf(argument.value, 'limit') : undefined;
    const isCount = typeof limit === 'number' && limit >= 1;
    return isCount ? Math.min(CEILING, limit) : this.defaultLimit;
  }

  private memberOf(node: ValueNode, member: string): unknown {
    if (node.kind === Kind.VARIABLE) {
      const value = this.variables[node.name.value];
      return (value as Record<string, unknown> | null | undefined)?.[member];
    }
    if (node.kind !== Kind.OBJECT) return undefined;
    const value = node.fields.find(({ name }) => name.value === member)?.value;
    if (value?.kind === Kind.INT) return Number(value.value);
    return value?.kind === Kind.VARIABLE ? this.variables[value.name.value] : undefined;
  }
}

/** Undefined for a type that the schema does not have: validation refuses it. */
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
