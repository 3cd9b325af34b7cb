import { AppError, validationFailed } from './app-error';

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
