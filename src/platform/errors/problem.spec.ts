import { NotFoundException } from '@nestjs/common';
import { AppError } from './app-error';
import { problemOf, toAppError } from './problem';

describe('whatever is thrown', () => {
  it('stays as it is when it is of ours', () => {
    const error = new AppError('FORBIDDEN', 'No.');
    expect(toAppError(error)).toBe(error);
  });

  it.each([
    [{ type: 'entity.too.large', status: 413 }, 'REQUEST_TOO_LARGE'],
    [{ type: 'encoding.unsupported', status: 415 }, 'UNSUPPORTED_MEDIA_TYPE'],
    [{ type: 'request.aborted', status: 400 }, 'VALIDATION_FAILED'],
    [{ status: 404 }, 'NOT_FOUND'],
    [{ statusCode: 405 }, 'METHOD_NOT_ALLOWED'],
    [new NotFoundException('Cannot GET /secret'), 'NOT_FOUND'],
    [new URIError('URI malformed'), 'VALIDATION_FAILED'],
    [{ status: 200 }, 'INTERNAL'],
    [{ status: 502 }, 'INTERNAL'],
    [{ status: '404' }, 'INTERNAL'],
    [new Error('SELECT secret FROM /etc/passwd'), 'INTERNAL'],
    ['a string', 'INTERNAL'],
    [null, 'INTERNAL'],
    [undefined, 'INTERNAL'],
  ])('%p becomes %s, and nothing of it is shown', (thrown, code) => {
    const error = toAppError(thrown);
    expect(error.code).toBe(code);
    expect(error.cause).toBe(thrown);
    const shown = JSON.stringify(problemOf(error, '/x', 'id'));
    expect(shown).not.toMatch(/secret|passwd|malformed"|at .*:\d+/);
  });
});

describe('a problem document', () => {
  it('has the members of RFC 9457 and ours', () => {
    const error = new AppError('VALIDATION_FAILED', 'Bad.', {
      errors: [{ path: 'a', message: 'b' }],
    });
    expect(problemOf(error, '/api/v1/x', 'r-1')).toEqual({
      type: 'urn:audit-server:error:validation-failed',
      title: 'The request is not valid',
      status: 400,
      detail: 'Bad.',
      instance: '/api/v1/x',
      code: 'VALIDATION_FAILED',
      requestId: 'r-1',
      errors: [{ path: 'a', message: 'b' }],
    });
    expect(problemOf(new AppError('INTERNAL', 'Oh.'), '/', '')).not.toHaveProperty('errors');
  });
});
