import { Injectable } from '@nestjs/common';
import { type AppError, type FieldError, validationFailed } from '../../platform/errors/app-error';
import type { TransactionEntry, TransactionParticipant, WriteRequest } from './batch-committer';

/**
 * Refuses requests with events that do not match their schema, after the participants that find repetitions: what was stored
 * before is acknowledged again, whatever is enforced since.
 */
@Injectable()
export class SchemaParticipant implements TransactionParticipant {
  isNeededBy({ faults }: WriteRequest): boolean {
    return faults !== undefined;
  }

  prepare(_: unknown, entries: readonly TransactionEntry[]): Promise<void> {
    for (const entry of entries) {
      const refusal = schemaRefusal(entry);
      if (refusal) entry.outcome = { refusal };
    }
    return Promise.resolve();
  }

  complete(): void {}
}

/** The refusal of a request, if events that are no repetition have faults. */
export function schemaRefusal({ request, repeats }: TransactionEntry): AppError | undefined {
  const { faults } = request;
  if (!faults) return undefined;
  const errors = schemaErrors(request, (index) => !repeats.has(index));
  return errors.length > 0 ? validationFailed(errors) : undefined;
}

/** Faults with the path of their event in front. */
export function schemaErrors(
  { faults = new Map(), pathOf }: Pick<WriteRequest, 'faults' | 'pathOf'>,
  isMeant: (index: number) => boolean = () => true,
): FieldError[] {
  return [...faults].flatMap(([index, found]) => {
    if (!isMeant(index)) return [];
    const at = pathOf(index);
    return found.map(({ path, message }) => {
      if (at === '' || path === '') return { path: `${at}${path}`, message };
      return { path: path.startsWith('[') ? `${at}${path}` : `${at}.${path}`, message };
    });
  });
}
