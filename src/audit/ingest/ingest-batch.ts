import { mayWrite, type Principal } from '../../auth/principal';
import { parseJsonBytes } from '../../http/body-reader';
import { AppError, type ErrorCode, type FieldError } from '../../platform/errors/app-error';
import type { Line } from '../../platform/runtime/line-splitter';
import { validate } from '../../validation/compiled-validator';
import type { NewEvent } from '../event/audit-event';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { newEventOf } from '../write/audit.service';
import type { WriteReceipt } from '../write/batch-committer';

export type LineReceipt =
  | { line: number; id: string; sequence: string; status: 'created' | 'duplicate' }
  | { line: number; status: 'rejected'; code: string; errors: FieldError[] };

/** Code of a valid line in a transaction with a refused one. */
export const TRANSACTION_REJECTED = 'TRANSACTION_REJECTED';
/** Space, tab, carriage return. */
const BLANKS = new Set([0x20, 0x09, 0x0d]);
const MAX_VIOLATIONS_PER_LINE = 20;

interface LineViolation {
  code: string;
  errors: FieldError[];
}

export class IngestBatch {
  readonly events: NewEvent[] = [];
  bytes = 0;
  private readonly numbers: number[] = [];
  private readonly violations = new Map<number, LineViolation>();

  constructor(private readonly principal: Principal) {}

  get lines(): number {
    return this.numbers.length;
  }

  get hasViolations(): boolean {
    return this.violations.size > 0;
  }

  add(line: Line): boolean {
    if (!line.isTooLong && isBlank(line.bytes)) return false;
    this.numbers.push(line.number);
    this.bytes += line.bytes.length;
    const read = this.read(line);
    if ('code' in read) this.violations.set(line.number, read);
    else if (!this.hasViolations) this.events.push(read);
    else this.events.length = 0; // none of them will be stored
    return true;
  }

  refuse(number: number, code: ErrorCode, message: string): void {
    this.numbers.push(number);
    this.violations.set(number, { code, errors: [{ path: '', message }] });
  }

  receiptsFor(written: readonly WriteReceipt[]): LineReceipt[] {
    return written.map(({ id, sequence, status }, index) => {
      return { line: this.numbers[index] ?? 0, id, sequence, status };
    });
  }

  rejections(failure?: AppError): LineReceipt[] {
    if (failure) this.assignFailure(failure);
    const [first] = this.violations.keys();
    const message = `is good, but line ${first} of the same transaction is refused: send it again`;
    return this.numbers.map((line) => {
      const { code, errors } = this.violations.get(line) ?? {
        code: TRANSACTION_REJECTED,
        errors: [{ path: '', message }],
      };
      return { line, status: 'rejected', code, errors };
    });
  }

  /** Assigns a failure to the lines of its paths (`3.id`: that of index 3), else to all. */
  private assignFailure({ code, detail, errors = [] }: AppError): void {
    for (const { path, message } of errors) {
      const [index = '', ...rest] = path.split('.');
      const line = this.numbers[Number(index)];
      if (line === undefined) continue;
      const known = this.violations.get(line)?.errors ?? [];
      this.violations.set(line, { code, errors: [...known, { path: rest.join('.'), message }] });
    }
    if (this.hasViolations) return;
    for (const line of this.numbers) {
      this.violations.set(line, { code, errors: [{ path: '', message: detail }] });
    }
  }

  private read({ bytes, isTooLong }: Line): NewEvent | LineViolation {
    if (isTooLong) {
      const message =
        'is longer than a line may be (2 MiB, or REQUEST_MAX_SIZE_MB when that is less)';
      return { code: 'REQUEST_TOO_LARGE', errors: [{ path: '', message }] };
    }
    let value: unknown;
    try {
      value = parseJsonBytes(bytes);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { code, detail, errors = [{ path: '', message: detail }] } = error;
      return { code, errors };
    }
    const errors = validate(CreateAuditEventDto, value);
    if (errors.length > 0)
      return { code: 'VALIDATION_FAILED', errors: errors.slice(0, MAX_VIOLATIONS_PER_LINE) };
    const event = value as CreateAuditEventDto;
    if (!mayWrite(this.principal, event.organizationId)) {
      const message = 'is not an organization of this token';
      return { code: 'FORBIDDEN', errors: [{ path: 'organizationId', message }] };
    }
    return newEventOf(event);
  }
}

function isBlank(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length && BLANKS.has(bytes[at] ?? 0)) at += 1;
  return at === bytes.length;
}
