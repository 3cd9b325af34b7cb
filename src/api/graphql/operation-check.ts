import {
  GraphQLError,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  type DocumentNode,
  type ValidationRule,
} from 'graphql';
import { AppError } from '../../platform/errors/app-error';
import { readDocument } from './document-cache';
import { requireShortLists, type DocumentShapes } from './list-limits';
import { MAX_DEPTH, MAX_TOKENS, requireWithinLimits } from './operation-limits';

/** A document within the limits, or why it is none: it cannot be read, or it is too large. */
export type CheckedDocument =
  { document: DocumentNode } | { refusal: GraphQLError; isUnreadable: boolean };

/** Reads a document and counts what it would cost, before anything validates or runs it. */
export function checkDocument(
  query: string,
  variables: Record<string, unknown>,
  shapes: DocumentShapes,
): CheckedDocument {
  let document: DocumentNode;
  try {
    document = readDocument(query);
  } catch (error) {
    if (error instanceof GraphQLError && !error.message.includes('tokens')) {
      return { refusal: error, isUnreadable: true };
    }
    return refused(
      new GraphQLError(
        `The operation is too large: at most ${MAX_TOKENS} tokens, and not so deep.`,
      ),
    );
  }
  try {
    requireWithinLimits(document, variables, shapes.defaultLimit);
    requireShortLists(document, variables, shapes);
  } catch (error) {
    if (error instanceof GraphQLError) return refused(error);
    if (error instanceof AppError) {
      return refused(new GraphQLError(error.detail, { originalError: error }));
    }
    return refused(
      new GraphQLError(`The operation is nested too deeply: at most ${MAX_DEPTH} levels.`),
    );
  }
  return { document };
}

/** What documents are validated by; the schema may be kept to oneself. */
export function validationRules(introspection: boolean): readonly ValidationRule[] {
  return introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
}

function refused(refusal: GraphQLError): CheckedDocument {
  return { refusal, isUnreadable: false };
}
