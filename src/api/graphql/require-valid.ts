import { validationFailed } from '../../platform/errors/app-error';
import { validate } from '../../validation/compiled-validator';
import type { Dto } from './derived-types';

/** @throws AppError VALIDATION_FAILED with every fault and its path. */
export function requireValid(dto: Dto, value: unknown): void {
  const faults = validate(dto, value);
  if (faults.length > 0) throw validationFailed(faults);
}
