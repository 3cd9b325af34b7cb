import { IsOptional } from 'class-validator';
import { AppError } from '../platform/errors/app-error';
import { integer, Check } from './constraints';
import { QueryInteger } from './query-coercion';
import { CompiledValidationPipe } from './validation.pipe';

class Dto {
  @QueryInteger()
  @IsOptional()
  @Check(integer(1, 9))
  limit?: number;
}

const pipe = new CompiledValidationPipe();

function fault(work: () => unknown): AppError {
  try {
    work();
  } catch (error) {
    return error as AppError;
  }
  throw new Error('Nothing was refused');
}

describe('the validation pipe', () => {
  it('hands a valid body on as the very object it was', () => {
    const body = { limit: 3 };
    expect(pipe.transform(body, { type: 'body', metatype: Dto })).toBe(body);
  });

  it('refuses a body with every fault and its path', () => {
    const error = fault(() => pipe.transform({ limit: 10, x: 1 }, { type: 'body', metatype: Dto }));
    expect(error).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ path: 'x' }, { path: 'limit', message: 'must be a whole number from 1 to 9' }],
    });
    expect(error.detail).toContain('(and 1 more)');
  });

  it('does not turn text of a body into a number', () => {
    expect(
      fault(() => pipe.transform({ limit: '3' }, { type: 'body', metatype: Dto })),
    ).toBeInstanceOf(AppError);
  });

  it('reads a query', () => {
    expect(pipe.transform({ limit: '3' }, { type: 'query', metatype: Dto })).toEqual({ limit: 3 });
    const error = fault(() =>
      pipe.transform({ limit: '1e0', y: '' }, { type: 'query', metatype: Dto }),
    );
    expect(error.errors?.map(({ path }) => path)).toEqual(['y', 'limit']);
  });

  it('leaves alone what has no DTO', () => {
    expect(pipe.transform('x', { type: 'param', metatype: String })).toBe('x');
    expect(pipe.transform('x', { type: 'custom', metatype: Dto })).toBe('x');
    expect(pipe.transform('x', { type: 'body' })).toBe('x');
  });
});
