import { Kind, type FieldNode, type GraphQLResolveInfo, type SelectionSetNode } from 'graphql';
import { validationFailed } from '../../platform/errors/app-error';

/** 49 of them, of an event with 80 000 numbers that a double cannot hold, took more than a second to write. */
const MAX_METADATA = 2;

/** The fields of one name in the answer: what they select is put together there. */
export type SameField = [FieldNode, ...FieldNode[]];

type Fragments = GraphQLResolveInfo['fragments'];

/** What is selected in these selections of one field, through fragments too; `@skip` and `@include` are not looked at. */
export function selectedIn(nodes: readonly FieldNode[], fragments: Fragments): SameField[] {
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

/**
 * How often the answer holds what is selected most often in these fields, under whatever aliases of it and of the
 * fields around it: as many times as large as what was read an answer may be. At least 1.
 */
export function copiesIn(selected: readonly SameField[], fragments: Fragments): number {
  const counts = new Map<string, number>();
  const count = (fields: readonly SameField[], path: string): void => {
    for (const same of fields) {
      const [{ name, selectionSet }] = same;
      const place = `${path}.${name.value}`;
      if (selectionSet) count(selectedIn(same, fragments), place);
      else counts.set(place, (counts.get(place) ?? 0) + 1);
    }
  };
  count(selected, '');
  return Math.max(1, ...counts.values());
}

/**
 * Refuses to give the one large member of an event again and again, where that is asked before there is an event.
 * @throws AppError VALIDATION_FAILED.
 */
export function requireFewMetadata({ fieldNodes, fragments }: GraphQLResolveInfo): void {
  const fields = selectedIn(fieldNodes, fragments);
  const metadata = fields.filter(([{ name }]) => name.value === 'metadata');
  if (metadata.length <= MAX_METADATA) return;
  const message = `must be selected at most ${MAX_METADATA} times, not ${metadata.length}`;
  throw validationFailed([{ path: 'metadata', message }]);
}
