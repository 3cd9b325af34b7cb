import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ModuleRef } from '@nestjs/core';
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  specifiedRules,
  validate,
  type ValidationRule,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { graphqlError, shownError } from './graphql-errors';
import { MAX_DEPTH, requireShortLists, requireWithinLimits } from './operation-limits';
import { type ResolverContext, selectedIn } from './root-fields';
import { graphqlSchema } from './schema';
import { auditConfig, graphqlConfig, paginationConfig } from '../../platform/config/settings';
import { AppError } from '../../platform/errors/app-error';

/** Tokens of a document; the parser stops there. Bulk events belong into variables. */
const MAX_TOKENS = 5000;
const WRITES = new Set(['createAuditEvent', 'bulkCreateAuditEvents']);
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

type CheckedDocument =
  { document: DocumentNode } | { refusal: GraphQLError; isUnreadable: boolean };

/** The schema, and the steps before and after an execution that both transports share. */
@Injectable()
export class GraphqlDocuments {
  readonly schema: GraphQLSchema;
  /** Finds a provider: the resolvers call the services of the application by it. */
  readonly get: ResolverContext['get'];
  private readonly introspection: boolean;
  private readonly rules: readonly ValidationRule[];
  private readonly defaultLimit: number;
  private readonly maxBulkEvents: number;

  constructor(
    @Inject(auditConfig.KEY) { bulkMaxEvents }: ConfigType<typeof auditConfig>,
    @Inject(graphqlConfig.KEY) { introspection }: ConfigType<typeof graphqlConfig>,
    @Inject(paginationConfig.KEY) { defaultLimit }: ConfigType<typeof paginationConfig>,
    modules: ModuleRef,
  ) {
    this.get = (type) => modules.get(type, { strict: false });
    this.schema = graphqlSchema(defaultLimit);
    this.introspection = introspection;
    this.rules = introspection
      ? specifiedRules
      : [...specifiedRules, NoSchemaIntrospectionCustomRule];
    this.defaultLimit = defaultLimit;
    this.maxBulkEvents = bulkMaxEvents;
  }

  /** Parses a document and counts its cost, before anything validates or runs it. */
  check(query: string, variables: Record<string, unknown> | null | undefined): CheckedDocument {
    let document: DocumentNode;
    try {
      document = readDocument(query);
    } catch (error) {
      if (error instanceof GraphQLError && !error.message.includes('tokens')) {
        return { refusal: error, isUnreadable: true };
      }
      return refused(`The operation is too large: at most ${MAX_TOKENS} tokens, and not so deep.`);
    }
    try {
      requireWithinLimits(document, variables ?? {}, this.defaultLimit);
      requireShortLists(document, variables ?? {}, this.schema, this.maxBulkEvents);
    } catch (error) {
      if (error instanceof GraphQLError) return { refusal: error, isUnreadable: false };
      if (error instanceof AppError) return { refusal: graphqlError(error), isUnreadable: false };
      return refused(`The operation is nested too deeply: at most ${MAX_DEPTH} levels.`);
    }
    return { document };
  }

  validate(document: DocumentNode): readonly GraphQLError[] {
    return validateDocument(this.schema, document, this.rules);
  }

  /** The name of an operation in metrics and logs: `graphql query auditEvent`. */
  routeOf(document: DocumentNode, operationName: string | null | undefined): string {
    const operation = operationIn(document, operationName);
    if (!operation) return 'graphql';
    const fields = this.schema.getRootType(operation.operation)?.getFields() ?? {};
    const first = operation.selectionSet.selections.find(({ kind }) => kind === Kind.FIELD);
    const name = first?.kind === Kind.FIELD ? first.name.value : '';
    const route = `graphql ${operation.operation}`;
    // Names of the schema alone, so that no client invents labels of metrics.
    return Object.hasOwn(fields, name) ? `${route} ${name}` : route;
  }

  shown(error: Error, requestId: string): GraphQLError {
    return shownError(error, requestId, this.introspection);
  }
}

function refused(message: string): CheckedDocument {
  return { refusal: new GraphQLError(message), isUnreadable: false };
}

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

/** True for an operation with at most one write of events, as one idempotency key stands for one write. */
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
