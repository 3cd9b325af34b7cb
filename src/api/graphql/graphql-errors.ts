import { GraphQLError } from 'graphql';
import { AppError } from '../../platform/errors/app-error';
import type { ErrorCode } from '../../platform/errors/error-table';
import { logFailure } from '../../platform/errors/problem-response';
import { toAppError } from '../../platform/errors/problem';

/** What clients read of an error beside its message; `code` is one of the error table. */
interface Extensions {
  [key: string]: unknown;
  code: ErrorCode;
  requestId: string;
}

/** As graphql-js ends a message (its `didYouMean`). */
const SUGGESTION = / Did you mean [^?]*\?$/;

/**
 * An error as a client may see it: kinds of ours with their code, what GraphQL itself finds wrong with a request as
 * VALIDATION_FAILED, all else as INTERNAL without a word of what happened. Faults of ours are logged. Who may not ask
 * for the schema (`introspection`) is told no names of it either: graphql-js suggests those that are like a wrong one.
 */
export function shownError(thrown: Error, requestId: string, introspection = true): GraphQLError {
  const isGraphql = thrown instanceof GraphQLError;
  const cause = isGraphql ? thrown.originalError : thrown;
  if (isGraphql && (!cause || cause instanceof GraphQLError)) {
    const { nodes, source, positions, path } = thrown;
    const message = introspection ? thrown.message : thrown.message.replace(SUGGESTION, '');
    const extensions: Extensions = { code: 'VALIDATION_FAILED', requestId };
    return new GraphQLError(message, { nodes, source, positions, path, extensions });
  }
  const error = toAppError(cause);
  logFailure(error, 'graphql', requestId);
  const place = isGraphql ? { nodes: thrown.nodes, path: thrown.path } : {};
  return new GraphQLError(error.detail, { ...place, extensions: extensionsOf(error, requestId) });
}

function extensionsOf(error: AppError, requestId: string): Extensions {
  const { code, errors, retryAfterSeconds } = error;
  return {
    code,
    requestId,
    ...(errors ? { errors } : {}),
    ...(retryAfterSeconds === undefined ? {} : { retryAfter: Math.ceil(retryAfterSeconds) }),
  };
}
