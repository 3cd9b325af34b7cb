import { TRPCError } from '@trpc/server';
import { getHTTPStatusCodeFromError } from '@trpc/server/http';
import { AppError, ERROR_TABLE, type ErrorCode } from '../../platform/errors/app-error';
import { failureOf, failureShape, trpcCodeOf } from './failure';

const KINDS = Object.keys(ERROR_TABLE) as ErrorCode[];

/** Statuses for which tRPC has no code. */
const WITHOUT_CODE: Partial<Record<ErrorCode, number>> = {
  NOT_ACCEPTABLE: 400,
  URI_TOO_LONG: 413,
  HEADERS_TOO_LARGE: 413,
};

it.each(KINDS)('%s has the tRPC code of its status', (kind) => {
  const code = trpcCodeOf(kind);
  expect(code).toBe(ERROR_TABLE[kind].trpcCode);
  const status = getHTTPStatusCodeFromError(new TRPCError({ code }));
  expect(status).toBe(WITHOUT_CODE[kind] ?? ERROR_TABLE[kind].status);
});

it('shows a failure of the table as it is', () => {
  const cause = new AppError('DATABASE_UNAVAILABLE', 'Come again.', { retryAfterSeconds: 3 });
  const error = new TRPCError({ code: 'BAD_REQUEST', cause });
  expect(failureShape(failureOf(error), { path: 'a.b', requestId: 'r' })).toEqual({
    code: expect.any(Number),
    message: 'Come again.',
    data: {
      code: 'SERVICE_UNAVAILABLE',
      httpStatus: 503,
      kind: 'DATABASE_UNAVAILABLE',
      path: 'a.b',
      requestId: 'r',
      retryAfterSeconds: 3,
    },
  });
});

it('shows nothing of an unknown failure', () => {
  const cause = new Error('SELECT secret FROM /etc');
  const failure = failureOf(new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause }));
  expect(failure.code).toBe('INTERNAL');
  expect(JSON.stringify(failureShape(failure, {}))).not.toContain('secret');
});
