import { GraphQLError } from 'graphql';
import type { AppError } from '../../platform/errors/app-error';
import { ERROR_TABLE } from '../../platform/errors/error-table';
import { logFailure } from '../../platform/errors/problem-response';
import { toAppError } from '../../platform/errors/problem';

/** As graphql-js ends a message (its `didYouMean`). */
const SUGGESTION = / Did you mean [^?]*\?$/;

/** A failure as an error of an operation; `shownError` makes of it what a client may see. */
export function graphqlError(thrown: unknown): GraphQLError {
  const error = toAppError(thrown);
  return new GraphQLError(error.detail, { originalError: error });
}

/** The failure of this service that an error carries; undefined for what GraphQL itself finds wrong with a request. */
function failureIn(error: Error): AppError | undefined {
  if (!(error instanceof GraphQLError)) return toAppError(error);
  const { originalError: cause } = error;
  return cause && !(cause instanceof GraphQLError) ? toAppError(cause) : undefined;
}

/** The HTTP status of an error. */
export function statusOf(error: Error): number {
  return (failureIn(error) ?? ERROR_TABLE.VALIDATION_FAILED).status;
}

/**
 * An error as a client may see it: failures of this service with their code, what GraphQL itself finds wrong with a
 * request as VALIDATION_FAILED, everything else as INTERNAL without its text. Faults of the service are logged. Where
 * the schema is not public (`introspection`) messages lose the names that graphql-js suggests for a wrong one.
 */
export function shownError(thrown: Error, requestId: string, introspection = true): GraphQLError {
  const { nodes, source, positions, path }: Partial<GraphQLError> =
    thrown instanceof GraphQLError ? thrown : {};
  const place = { nodes, source, positions, path };
  const failure = failureIn(thrown);
  if (!failure) {
    const message = introspection ? thrown.message : thrown.message.replace(SUGGESTION, '');
    return new GraphQLError(message, {
      ...place,
      extensions: { code: 'VALIDATION_FAILED', requestId },
    });
  }
  logFailure(failure, 'graphql', requestId);
  const { code, detail, errors, retryAfterSeconds } = failure;
  const extensions = {
    code,
    requestId,
    ...(errors ? { errors } : {}),
    ...(retryAfterSeconds === undefined ? {} : { retryAfter: Math.ceil(retryAfterSeconds) }),
  };
  return new GraphQLError(detail, { ...place, extensions });
}
