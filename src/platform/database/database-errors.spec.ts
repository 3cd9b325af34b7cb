import { AppError } from '../errors/app-error';
import { isMissingPartition, isRetryable, isUnavailable, toDatabaseError } from './database-errors';

const withCode = (code: string, more: object = {}) =>
  Object.assign(new Error('x'), { code, ...more });

describe('a fault of the database', () => {
  it.each([
    '08006',
    '08001',
    '53300',
    '53200',
    '53100',
    '58030',
    '57P01',
    '57P02',
    '57P03',
    '57P05',
    '25006',
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ETIMEDOUT',
    'ENOTFOUND',
    'EAI_AGAIN',
  ])('%s means that it is away', (code) => {
    expect(isUnavailable(withCode(code))).toBe(true);
    expect(toDatabaseError(withCode(code))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      retryAfterSeconds: expect.any(Number) as number,
    });
  });

  it.each([
    'timeout exceeded when trying to connect',
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'Client has encountered a connection error and is not queryable',
    'Cannot use a pool after calling end on the pool',
  ])('without a code is known by its message: %s', (message) => {
    expect(toDatabaseError(new Error(message)).code).toBe('DATABASE_UNAVAILABLE');
  });

  it('of several addresses is recognized by any of them', () => {
    const error = new AggregateError([withCode('ECONNREFUSED'), withCode('ECONNREFUSED')], '');
    expect(isUnavailable(error)).toBe(true);
    expect(isUnavailable(new AggregateError([new Error('x')], ''))).toBe(false);
  });

  it.each([
    ['57014', 'REQUEST_TIMEOUT'],
    ['23505', 'CONFLICT'],
    ['40001', 'DATABASE_UNAVAILABLE'],
    ['40P01', 'DATABASE_UNAVAILABLE'],
    ['55P03', 'DATABASE_UNAVAILABLE'],
    ['42601', 'INTERNAL'],
    ['22P02', 'INTERNAL'],
    ['23514', 'INTERNAL'],
    ['54000', 'INTERNAL'],
    ['28P01', 'INTERNAL'],
  ])('%s becomes %s', (sqlState, code) => {
    expect(toDatabaseError(withCode(sqlState)).code).toBe(code);
  });

  it.each(['55000', '28P01', '3D000', '28000'])(
    'that refuses the whole connection (%s) means that it is away',
    (sqlState) => {
      const error = toDatabaseError(withCode(sqlState, { severity: 'FATAL' }));
      expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryAfterSeconds: 2 });
    },
  );

  it('is never shown', () => {
    for (const code of ['57014', '23505', '42601', '08006']) {
      const cause = Object.assign(new Error('SELECT secret'), { code });
      const error = toDatabaseError(cause);
      expect(error.detail).not.toContain('secret');
      expect(error.cause).toBe(cause);
    }
  });

  it.each([[null], [undefined], ['text'], [{ code: 7 }], [new Error('Connection is fun')]])(
    'that is %p is one of ours',
    (thrown) => {
      expect(toDatabaseError(thrown).code).toBe('INTERNAL');
      expect(isRetryable(thrown)).toBe(false);
      expect(isMissingPartition(thrown)).toBe(false);
    },
  );

  it('that is an AppError is not translated again', () => {
    const error = new AppError('FORBIDDEN', 'No.');
    expect(toDatabaseError(error)).toBe(error);
  });

  it('is worth another try only when it lost against another transaction', () => {
    expect(['40001', '40P01'].map(withCodeOnly).every(isRetryable)).toBe(true);
    expect(['55P03', '57014', '23505', '08006'].map(withCodeOnly).some(isRetryable)).toBe(false);
  });

  it('is a missing partition when no constraint is named', () => {
    expect(isMissingPartition(withCode('23514'))).toBe(true);
    expect(isMissingPartition(withCode('23514', { constraint: 'some_check' }))).toBe(false);
    expect(isMissingPartition(withCode('23505'))).toBe(false);
  });
});

function withCodeOnly(code: string): Error {
  return withCode(code);
}
