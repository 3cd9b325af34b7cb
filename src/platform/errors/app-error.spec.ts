import { AppError, codeOfStatus, ERROR_TABLE, type ErrorCode, validationFailed } from './app-error';

describe('an error that a caller is told about', () => {
  it('has the status of its kind and keeps its cause to itself', () => {
    const cause = new Error('SELECT secret');
    const error = new AppError('CONFLICT', 'Twice.', { cause });
    expect(error).toMatchObject({ status: 409, code: 'CONFLICT', detail: 'Twice.', cause });
    expect(error.headers).toEqual({});
    expect(JSON.stringify(error)).not.toContain('secret');
  });

  it('of validation names the first fault and how many more there are', () => {
    const error = validationFailed([
      { path: 'events[3].action', message: 'is required' },
      { path: '', message: 'must be a JSON object' },
    ]);
    expect(error.detail).toBe('events[3].action is required (and 1 more)');
    expect(error.errors).toHaveLength(2);
    expect(validationFailed([{ path: '', message: 'is bad' }]).detail).toBe('the value is bad');
    expect(
      validationFailed([{ path: 'x'.repeat(5000), message: 'is bad' }]).detail.length,
    ).toBeLessThanOrEqual(1000);
  });
});

describe('the table of errors', () => {
  it('has the codes and statuses of the contract', () => {
    const statuses = Object.fromEntries(
      Object.entries(ERROR_TABLE).map(([code, { status }]) => [code, status]),
    );
    expect(statuses).toMatchObject({
      VALIDATION_FAILED: 400,
      INVALID_CURSOR: 400,
      MALFORMED_JSON: 400,
      UNAUTHENTICATED: 401,
      FORBIDDEN: 403,
      NOT_FOUND: 404,
      METHOD_NOT_ALLOWED: 405,
      NOT_ACCEPTABLE: 406,
      CONFLICT: 409,
      REQUEST_TOO_LARGE: 413,
      UNSUPPORTED_MEDIA_TYPE: 415,
      IDEMPOTENCY_MISMATCH: 422,
      TOO_MANY_REQUESTS: 503,
      QUEUE_TIMEOUT: 503,
      REQUEST_TIMEOUT: 504,
      DATABASE_UNAVAILABLE: 503,
      INTERNAL: 500,
    });
  });

  it('has a row of the same class for every status of an error', () => {
    for (let status = 400; status < 600; status += 1) {
      const code: ErrorCode = codeOfStatus(status);
      expect(Math.floor(ERROR_TABLE[code].status / 100)).toBe(Math.floor(status / 100));
    }
    expect(codeOfStatus(418)).toBe('VALIDATION_FAILED');
  });
});
