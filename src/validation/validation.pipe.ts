import { Injectable, type ArgumentMetadata, type PipeTransform } from '@nestjs/common';
import { validationFailed } from '../platform/errors/app-error';
import { validate } from './compiled-validator';
import { coerceQuery } from './query-coercion';

const PLAIN_TYPES: unknown[] = [String, Number, Boolean, Array, Object];

/**
 * Validates bodies and queries. Values stay plain objects: class instances would lose the text of numbers.
 * @throws AppError VALIDATION_FAILED with every violation and its path.
 */
@Injectable()
export class CompiledValidationPipe implements PipeTransform {
  transform(value: unknown, { type, metatype }: ArgumentMetadata): unknown {
    if (typeof metatype !== 'function' || PLAIN_TYPES.includes(metatype)) return value;
    const dto = metatype as new () => object;
    if (type === 'query') {
      return validQuery(dto, value ?? {});
    }
    if (type !== 'body') return value;
    const errors = validate(dto, value);
    if (errors.length > 0) throw validationFailed(errors);
    return value;
  }
}

/**
 * Members of a query DTO. A procedure's input may be any JSON value.
 * @throws AppError VALIDATION_FAILED with every violation and its path.
 */
export function validQuery(dto: new () => object, query: unknown): object {
  if (!isRecord(query)) throw validationFailed(validate(dto, query));
  const { value, errors } = coerceQuery(dto, query);
  const all = [...errors, ...validate(dto, value)];
  if (all.length > 0) throw validationFailed(all);
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
