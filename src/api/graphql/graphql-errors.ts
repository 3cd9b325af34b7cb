import { GraphQLError } from 'graphql';
import { type AppError, ERROR_TABLE } from '../../platform/errors/app-error';
import { logFailure, toAppError } from '../../platform/errors/problem';

/** The end of messages by `didYouMean` of graphql-js. */
const SUGGESTION = / Did you mean [^?]*\?$/;

export function graphqlError(thrown: unknown): GraphQLError {
  const error = toAppError(thrown);
  return new GraphQLError(error.detail, { originalError: error });
}

/** The failure of this service behind an error; undefined for what GraphQL itself finds wrong with a request. */
function failureIn(error: Error): AppError | undefined {
  if (!(error instanceof GraphQLError)) return toAppError(error);
  const { originalError: cause } = error;
  return cause && !(cause instanceof GraphQLError) ? toAppError(cause) : undefined;
}

export function statusOf(error: Error): number {
  return (failureIn(error) ?? ERROR_TABLE.VALIDATION_FAILED).status;
}

/**
 * An error as a client may see it: failures of this service with their code, what GraphQL itself finds as
 * VALIDATION_FAILED, everything else as INTERNAL without its text, in the log. Without `introspection` messages lose the
 * names that graphql-js suggests.
 */
export function shownError(thrown: Error, requestId: string, introspection = true): GraphQLError {
  const { nodes, source, positions, path }: Partial<GraphQLError> =
    thrown instanceof GraphQLError ? thrown : {};
  const location = { nodes, source, positions, path };
  const failure = failureIn(thrown);
  if (!failure) {
    const message = introspection ? thrown.message : thrown.message.replace(SUGGESTION, '');
    return new GraphQLError(message, {
      ...location,
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
  return new GraphQLError(detail, { ...location, extensions });
}
