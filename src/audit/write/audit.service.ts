import { Injectable } from '@nestjs/common';
import { mayWrite, type Principal } from '../../auth/principal';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import { flowKey } from '../../concurrency/flow';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { AppError, type FieldError } from '../../platform/errors/app-error';
import type { NewEvent } from '../event/audit-event';
import type {
  BulkCreateAuditEventsDto,
  CreateAuditEventDto,
} from '../event/dto/create-audit-event.dto';
import type { BulkCreateResultDto } from '../event/dto/responses.dto';
import { AuditWriter } from './audit-writer';
import { BulkEvents, newEventOf } from './new-events';
import type { WriteReceipt } from './write-request';

const DEFAULT_BATCH_SIZE = 1000;

/** Options of a write. Without a signal it waits without limit. */
export interface WriteOptions {
  claim?: IdempotencyClaim;
  signal?: AbortSignal;
}

export interface RecordedEvent {
  receipt: WriteReceipt;
  text: string;
  /** True when an earlier request with the same Idempotency-Key got this acknowledgement. */
  replayed: boolean;
}

export interface RecordedBulk {
  result: BulkCreateResultDto;
  text: string;
  replayed: boolean;
}

/** Commands that record events, for every protocol. Checks a principal's right to write to organizations. */
@Injectable()
export class AuditService {
  constructor(
    private readonly writer: AuditWriter,
    private readonly scheduler: FairScheduler,
    private readonly bulk: BulkEvents,
  ) {
    writer.onStalledRequests((requests) => scheduler.setExtraPermits(requests));
  }

  /**
   * Records one event. The receipt says `duplicate` when the client's id exists with the same content.
   * @throws AppError FORBIDDEN, CONFLICT, and what AuditWriter.write throws.
   */
  async create(
    principal: Principal,
    dto: CreateAuditEventDto,
    { claim, signal }: WriteOptions = {},
  ): Promise<RecordedEvent> {
    this.requireMayWrite(principal, [dto], () => '');
    const { receipts, text, replayed } = await this.writer.write({
      ...{ flow: flowKey(principal), signal, claim, form: 'event' },
      events: [newEventOf(dto)],
      batchSize: DEFAULT_BATCH_SIZE,
      pathOf: () => '',
      textOf: ([receipt]) => receipt?.text() ?? '',
    });
    const [receipt] = receipts;
    if (!receipt) throw new Error('A single write has one receipt');
    return { receipt, text, replayed };
  }

  /** Records a bulk request, all or none. @throws as `create`, and VALIDATION_FAILED for too many events. */
  async createBulk(
    principal: Principal,
    dto: BulkCreateAuditEventsDto,
    { claim, signal }: WriteOptions = {},
  ): Promise<RecordedBulk> {
    const startedMs = performance.now();
    const pathOf = (index: number) => `events[${index}]`;
    this.bulk.requireSize(dto.events);
    this.requireMayWrite(principal, dto.events, pathOf);
    let result: BulkCreateResultDto | undefined;
    const { text, replayed } = await this.writer.write({
      ...{ flow: flowKey(principal), signal, claim, form: 'list', pathOf },
      events: await this.bulk.make(dto.events, signal),
      batchSize: dto.batchSize ?? DEFAULT_BATCH_SIZE,
      textOf: (receipts, batches) => {
        const totalTimeMs = performance.now() - startedMs;
        const utilizationPercent = this.scheduler.utilizationOf(principal);
        result = bulkResult(receipts, batches, { totalTimeMs, utilizationPercent });
        return JSON.stringify(result);
      },
    });
    // A replay repeats the first acknowledgement.
    if (replayed || !result)
      return { result: JSON.parse(text) as BulkCreateResultDto, text, replayed };
    return { result, text, replayed };
  }

  /**
   * Records events in one transaction, all or none. Paths of violations begin with an event's index (`3.id`).
   * @throws AppError FORBIDDEN, CONFLICT, TOO_MANY_REQUESTS, DATABASE_UNAVAILABLE; the reason of the signal.
   */
  async recordAll(
    principal: Principal,
    events: NewEvent[],
    signal?: AbortSignal,
  ): Promise<readonly WriteReceipt[]> {
    this.requireMayWrite(principal, events, String);
    const { receipts } = await this.writer.write({
      ...{ flow: flowKey(principal), signal, events, form: 'list', pathOf: String },
      batchSize: DEFAULT_BATCH_SIZE,
    });
    return receipts;
  }

  private requireMayWrite(
    principal: Principal,
    events: Pick<CreateAuditEventDto, 'organizationId'>[],
    pathOf: (index: number) => string,
  ): void {
    const errors: FieldError[] = [];
    events.forEach(({ organizationId }, index) => {
      if (mayWrite(principal, organizationId)) return;
      const at = pathOf(index);
      const path = at === '' ? 'organizationId' : `${at}.organizationId`;
      errors.push({ path, message: 'is not an organization of this token' });
    });
    if (errors.length > 0) {
      throw new AppError('FORBIDDEN', 'The token does not allow writing to every organization.', {
        errors,
      });
    }
  }
}

function bulkResult(
  receipts: readonly WriteReceipt[],
  batches: number,
  measured: { totalTimeMs: number; utilizationPercent: number },
): BulkCreateResultDto {
  const created = receipts.filter(({ status }) => status === 'created').length;
  const round = (value: number) => Math.round(value * 1000) / 1000;
  return {
    created,
    duplicates: receipts.length - created,
    batches,
    results: receipts.map(({ id, sequence, status }, index) => ({ index, id, sequence, status })),
    performance: {
      totalTime: round(measured.totalTimeMs),
      averageTimePerEvent: round(measured.totalTimeMs / receipts.length),
      concurrencyUtilization: round(measured.utilizationPercent),
    },
  };
}
