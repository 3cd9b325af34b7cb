import type { TRPCError, TRPC_ERROR_CODE_KEY } from '@trpc/server';
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc';
import {
  AppError,
  ERROR_TABLE,
  type ErrorCode,
  type FieldError,
  validationFailed,
} from '../../platform/errors/app-error';
import { toAppError } from '../../platform/errors/problem';

/** `error.data` of a client. */
export interface FailureData {
  code: TRPC_ERROR_CODE_KEY;
  httpStatus: number;
  path?: string;
  /** The same in every API, as in `UNAUTHENTICATED`. */
  kind: ErrorCode;
  requestId?: string;
  errors?: FieldError[];
  retryAfterSeconds?: number;
}

export interface FailureShape {
  /** Of JSON-RPC. */
  code: (typeof TRPC_ERROR_CODES_BY_KEY)[TRPC_ERROR_CODE_KEY];
  message: string;
  data: FailureData;
}

/** Calls of one batch that are served: each takes a permit and counts for the rate limit. Further ones fail alone. */
export const MAX_BATCH_SIZE = 100;

/** Calls of one batch beyond which none is read: each failure takes some hundred bytes of a response. */
export const LONGEST_BATCH = 1000;

const REFUSALS: Partial<Record<TRPC_ERROR_CODE_KEY, AppError>> = {
  NOT_FOUND: new AppError('NOT_FOUND', 'There is no such procedure.'),
  METHOD_NOT_SUPPORTED: new AppError(
    'METHOD_NOT_ALLOWED',
    'Queries and subscriptions are called by GET (queries by POST too), mutations by POST.',
  ),
  UNSUPPORTED_MEDIA_TYPE: new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    'Send the input as Content-Type: application/json; read streams through httpBatchStreamLink.',
  ),
};

/** Request ids of errors that tRPC meets before it has made the context of a call. */
const requestIds = new WeakMap<TRPCError, string>();

/** tRPC reports each error before it formats it. */
export function noteRequest(error: TRPCError, requestId: string): void {
  requestIds.set(error, requestId);
}

export function requestIdOfError(error: TRPCError): string | undefined {
  return requestIds.get(error);
}

/** The failure of this service that an error of a call stands for. */
export function failureOf(error: TRPCError): AppError {
  const { cause, code } = error;
  if (cause instanceof AppError) return cause;
  if (cause instanceof SyntaxError) {
    return new AppError('MALFORMED_JSON', 'The input is not well-formed JSON.');
  }
  const refusal = REFUSALS[code];
  if (refusal) return refusal;
  if (code === 'BAD_REQUEST' || code === 'PARSE_ERROR') {
    if (error.message.startsWith('Batch call exceeds')) return batchTooLong();
    return validationFailed([{ path: '', message: `cannot be read: ${error.message}` }]);
  }
  return toAppError(cause ?? error);
}

/** VALIDATION_FAILED of a call, or of all, beyond what a batch may have. */
export function batchTooLong(): AppError {
  const message = `must be at most ${MAX_BATCH_SIZE} calls: set maxItems of the batch link`;
  return validationFailed([{ path: '', message }]);
}

export function trpcCodeOf(code: ErrorCode): TRPC_ERROR_CODE_KEY {
  const { trpcCode } = ERROR_TABLE[code];
  return trpcCode in TRPC_ERROR_CODES_BY_KEY
    ? (trpcCode as TRPC_ERROR_CODE_KEY)
    : 'INTERNAL_SERVER_ERROR';
}

/** A failure on the wire, without its cause. */
export function failureShape(
  failure: AppError,
  { path, requestId }: Pick<FailureData, 'path' | 'requestId'>,
): FailureShape {
  const code = trpcCodeOf(failure.code);
  const { errors, retryAfterSeconds } = failure;
  return {
    code: TRPC_ERROR_CODES_BY_KEY[code],
    message: failure.detail,
    data: {
      code,
      httpStatus: failure.status,
      kind: failure.code,
      ...(path === undefined ? {} : { path }),
      ...(requestId === undefined ? {} : { requestId }),
      ...(errors ? { errors } : {}),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
  };
}

/** The HTTP status of a response whose calls all failed alike; undefined where that of tRPC is right. */
export function failureStatus(errors: TRPCError[], calls: number): number | undefined {
  if (errors.length === 0 || errors.length < calls) return undefined;
  const statuses = new Set(errors.map((error) => failureOf(error).status));
  return statuses.size === 1 ? [...statuses][0] : undefined;
}

/** The headers that all failures of a response share; of `Retry-After` the longest. */
export function failureHeaders(errors: TRPCError[], calls: number): Record<string, string> {
  if (errors.length === 0 || errors.length < calls) return {};
  const failures = errors.map(failureOf);
  const [first, ...others] = failures.map(({ headers }) => headers);
  const shared = Object.entries(first ?? {}).filter(([name, value]) =>
    others.every((headers) => headers[name] === value),
  );
  const seconds = failures.map(({ retryAfterSeconds }) => retryAfterSeconds);
  const isRetried = seconds.every((one) => one !== undefined);
  const retry: Record<string, string> = isRetried
    ? { 'Retry-After': String(Math.ceil(Math.max(...seconds))) }
    : {};
  return { ...Object.fromEntries(shared), ...retry };
}
