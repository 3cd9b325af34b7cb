import {
  GraphQLError,
  Kind,
  type DocumentNode,
  type FieldNode,
  valueFromASTUntyped,
  type OperationDefinitionNode,
  type FragmentDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';

/** Tokens of a document; the parser stops there. Bulk events belong into variables. */
export const MAX_TOKENS = 5000;
/** Rules of validation look at each variable in each fragment: 1100 of both took 0.3 s, 100 take 0.02 s. */
const MAX_FRAGMENTS = 100;
const MAX_VARIABLES = 100;
/** Selections of one field are compared in pairs, with all that is in them: 1200 took 0.14 s. */
const MAX_SELECTIONS = 100;
/** The deepest usual document is the introspection query of tools, with about 14 levels. */
export const MAX_DEPTH = 20;
const MAX_ALIASES = 50;
/** An answer names its fields at each entry of a page. */
const MAX_ALIAS_CHARACTERS = 100;
const MAX_ROOT_FIELDS = 20;
const MAX_OPERATIONS = 20;
/** Fields, those of a list once for each entry that was asked for: a page of 1000 with all its members takes 24 000. */
const MAX_COST = 50_000;
/** Fields of each result of a bulk write: there are four. 10 000 results with 48 each took a second. */
const MAX_RESULT_FIELDS = 10;
/** Above every limit: keeps sums of sums finite. */
const CEILING = 1_000_000;

const LIST_FIELD = 'optimizedAuditEvents';
const RESULTS_FIELD = 'results';

interface Weight {
  depth: number;
  aliases: number;
  fields: number;
  cost: number;
}

const NOTHING: Weight = { depth: 0, aliases: 0, fields: 0, cost: 0 };

/**
 * What a document would cost, counted before anything validates or runs it. Each fragment is weighed once, so that
 * fragments of fragments cost no more to weigh than they are long.
 * @throws GraphQLError that names the limit.
 */
export function requireWithinLimits(
  document: DocumentNode,
  variables: Record<string, unknown>,
  defaultLimit: number,
): void {
  const operations = operationsIn(document);
  spend('operations in one document', operations.length, MAX_OPERATIONS);
  spend('fragments', document.definitions.length - operations.length, MAX_FRAGMENTS);
  const defined = operations.reduce((sum, one) => sum + (one.variableDefinitions?.length ?? 0), 0);
  spend('variables', defined, MAX_VARIABLES);
  spend('selections of one field', mostSelected(document), MAX_SELECTIONS);
  for (const definition of operations) {
    const given = { ...defaultsOf(definition), ...variables };
    const weigher = new CostAnalyzer(document, given, defaultLimit);
    const { depth, aliases, cost } = weigher.cost(definition.selectionSet);
    spend('levels deep', depth, MAX_DEPTH);
    spend('aliases', aliases, MAX_ALIASES);
    spend('fields at the root', weigher.countRoots(definition.selectionSet), MAX_ROOT_FIELDS);
    spend('points of cost', cost, MAX_COST);
  }
}

function operationsIn({ definitions }: DocumentNode): OperationDefinitionNode[] {
  return definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
}

/** How often the field is selected that is selected most often, of those with a selection set of their own. */
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

function spend(what: string, actual: number, limit: number): void {
  if (actual <= limit) return;
  const found = actual < CEILING ? `, not ${actual}` : '';
  throw new GraphQLError(
    `The operation is too large: at most ${limit} ${what} are allowed${found}.`,
  );
}

class CostAnalyzer {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly weights = new Map<string, Weight>();
  private readonly roots = new Map<string, number>();

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

  cost({ selections }: SelectionSetNode): Weight {
    const total = { ...NOTHING };
    for (const selection of selections) {
      let one: Weight;
      if (selection.kind === Kind.FIELD) one = this.field(selection);
      else if (selection.kind === Kind.INLINE_FRAGMENT) one = this.cost(selection.selectionSet);
      else one = this.fragment(selection.name.value);
      total.depth = Math.max(total.depth, one.depth);
      total.aliases = Math.min(CEILING, total.aliases + one.aliases);
      total.fields = Math.min(CEILING, total.fields + one.fields);
      total.cost = Math.min(CEILING, total.cost + one.cost);
    }
    return total;
  }

  /** Fields that an operation asks the service itself for, through fragments too. */
  countRoots({ selections }: SelectionSetNode): number {
    let count = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) count += 1;
      else if (selection.kind === Kind.INLINE_FRAGMENT) {
        count += this.countRoots(selection.selectionSet);
      } else count += this.rootsOfFragment(selection.name.value);
    }
    return Math.min(CEILING, count);
  }

  private rootsOfFragment(name: string): number {
    const known = this.roots.get(name);
    if (known !== undefined) return known;
    this.roots.set(name, 0); // a ring of fragments is refused by validation
    const fragment = this.fragments.get(name);
    const count = fragment ? this.countRoots(fragment.selectionSet) : 0;
    this.roots.set(name, count);
    return count;
  }

  private field(field: FieldNode): Weight {
    spend('characters in an alias', field.alias?.value.length ?? 0, MAX_ALIAS_CHARACTERS);
    const inner = field.selectionSet ? this.cost(field.selectionSet) : NOTHING;
    if (field.name.value === RESULTS_FIELD) {
      spend('fields of each result', inner.fields, MAX_RESULT_FIELDS);
    }
    const times = field.name.value === LIST_FIELD ? this.limitOf(field) : 1;
    return {
      depth: inner.depth + 1,
      aliases: inner.aliases + (field.alias ? 1 : 0),
      fields: inner.fields + 1,
      cost: Math.min(CEILING, 1 + inner.cost * times),
    };
  }

  private fragment(name: string): Weight {
    const known = this.weights.get(name);
    if (known) return known;
    this.weights.set(name, NOTHING); // a ring of fragments is refused by validation
    const fragment = this.fragments.get(name);
    const weight = fragment ? this.cost(fragment.selectionSet) : NOTHING;
    this.weights.set(name, weight);
    return weight;
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
