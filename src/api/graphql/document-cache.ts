import { LRUCache } from 'lru-cache';
import {
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
  parse,
  validate,
  type ValidationRule,
} from 'graphql';

/** Tokens of a document; the parser stops there. Bulk events belong into variables. */
export const MAX_TOKENS = 5000;
/** Characters of text; the tree of a text takes some forty times as many bytes. */
const MAX_CHARACTERS = 256 * 1024;
/** Longer texts are parsed each time: programs repeat few and short ones, with other variables. */
const MAX_TEXT_CHARACTERS = 16 * 1024;
const ENTRY_CHARACTERS = 200;

const trees = new LRUCache<string, DocumentNode>({
  maxSize: MAX_CHARACTERS,
  maxEntrySize: MAX_TEXT_CHARACTERS,
  sizeCalculation: (_, text) => text.length + ENTRY_CHARACTERS,
});
/** Trees that are valid under a schema, whose rules do not change. */
const validTrees = new WeakMap<GraphQLSchema, WeakSet<DocumentNode>>();

/** Parses, or returns the cached tree of the same text. @throws GraphQLError for bad syntax, or more than MAX_TOKENS. */
export function readDocument(text: string): DocumentNode {
  const known = trees.get(text);
  if (known) return known;
  const tree = parse(text, { maxTokens: MAX_TOKENS });
  trees.set(text, tree);
  return tree;
}

/** `validate` of graphql-js, once for each valid tree; always with the same rules under the same schema. */
export function validateDocument(
  schema: GraphQLSchema,
  document: DocumentNode,
  rules: readonly ValidationRule[],
): readonly GraphQLError[] {
  const valid = validTrees.get(schema) ?? new WeakSet();
  if (valid.has(document)) return [];
  const errors = validate(schema, document, rules);
  if (errors.length === 0) {
    valid.add(document);
    validTrees.set(schema, valid);
  }
  return errors;
}
