import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import {
  GraphQLError,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  type DocumentNode,
  type GraphQLSchema,
  type ValidationRule,
} from 'graphql';
import { auditConfig, graphqlConfig, paginationConfig } from '../../platform/config/settings';
import { AppError } from '../../platform/errors/app-error';
import { MAX_TOKENS, readDocument, validateDocument } from './document-cache';
import { graphqlError, shownError } from './graphql-errors';
import { MAX_DEPTH, requireShortLists, requireWithinLimits } from './operation-limits';
import { graphqlSchema } from './schema';
import { routeNameOf } from './selected-fields';

type CheckedDocument =
  { document: DocumentNode } | { refusal: GraphQLError; isUnreadable: boolean };

/** The schema, and the steps before and after an execution that both transports share. */
@Injectable()
export class GraphqlDocuments {
  readonly schema: GraphQLSchema;
  private readonly introspection: boolean;
  private readonly rules: readonly ValidationRule[];
  private readonly defaultLimit: number;
  private readonly maxBulkEvents: number;

  constructor(
    @Inject(auditConfig.KEY) { bulkMaxEvents }: ConfigType<typeof auditConfig>,
    @Inject(graphqlConfig.KEY) { introspection }: ConfigType<typeof graphqlConfig>,
    @Inject(paginationConfig.KEY) { defaultLimit }: ConfigType<typeof paginationConfig>,
  ) {
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

  /** The name of an operation in metrics and logs. */
  routeOf(document: DocumentNode, operationName: string | null | undefined): string {
    return routeNameOf(document, operationName, this.schema);
  }

  shown(error: Error, requestId: string): GraphQLError {
    return shownError(error, requestId, this.introspection);
  }
}

function refused(message: string): CheckedDocument {
  return { refusal: new GraphQLError(message), isUnreadable: false };
}
