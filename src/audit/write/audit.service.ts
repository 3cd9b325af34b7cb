import { Injectable } from '@nestjs/common';
import { mayWrite, type Principal } from '../../auth/principal';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import type { IdempotencyClaim, StoredResponse } from '../../concurrency/idempotency-keys';
import { flowKey } from '../../concurrency/flow';
import { AppError, type FieldError } from '../../platform/errors/app-error';
import type { NewEvent } from '../event/audit-event';
import { AuditWriter } from './audit-writer';
import { BulkEvents } from './bulk-events';
import type {
  BulkCreateAuditEventsDto,
  CreateAuditEventDto,
} from '../event/dto/create-audit-event.dto';
import { newEventOf } from './new-event';
import type { Recorded, WriteReceipt } from './write-batch';

const DEFAULT_BATCH_SIZE = 1000;

/** How a write is made. Without a signal it waits as long as it takes. */
export interface WriteOptions {
  claim?: IdempotencyClaim;
  signal?: AbortSignal;
}

/** What can be done with audit events; the one service behind every door. Says who may see and write what. */
@Injectable()
export class AuditService {
  constructor(
    private readonly writer: AuditWriter,
    private readonly scheduler: FairScheduler,
    private readonly bulk: BulkEvents,
  ) {
    writer.onStalledRequests((requests) => scheduler.setExtraPermits(requests));
  }

  /** Stores one event: 201, or 200 with the stored one when the client's id exists with the same content. */
  async create(
    principal: Principal,
    dto: CreateAuditEventDto,
    { claim, signal }: WriteOptions = {},
  ): Promise<Recorded> {
    this.requireMayWrite(principal, [dto], () => '');
    return this.writer.record({
      flow: flowKey(principal),
      signal,
      events: [newEventOf(dto)],
      batchSize: DEFAULT_BATCH_SIZE,
      pathOf: () => '',
      claim,
      answer: ([receipt]) => singleResponse(receipt),
    });
  }

  /** Stores all events of a bulk request, or none. */
  async createBulk(
    principal: Principal,
    dto: BulkCreateAuditEventsDto,
    { claim, signal }: WriteOptions = {},
  ): Promise<Recorded> {
    const startedMs = performance.now();
    const pathOf = (index: number) => `events[${index}]`;
    this.bulk.requireSize(dto.events);
    this.requireMayWrite(principal, dto.events, pathOf);
    return this.writer.record({
      flow: flowKey(principal),
      signal,
      events: await this.bulk.make(dto.events, signal),
      batchSize: dto.batchSize ?? DEFAULT_BATCH_SIZE,
      pathOf,
      claim,
      answer: (receipts, batches) =>
        bulkResponse(receipts, batches, {
          totalTimeMs: performance.now() - startedMs,
          utilizationPercent: this.scheduler.utilizationOf(principal),
        }),
    });
  }

  /**
   * Stores these events in one transaction, all or none. Paths of faults begin with an event's index, as in `3.id`.
   * When the signal aborts nobody waits any more, and what is not committed by then is not stored.
   * @throws AppError FORBIDDEN, CONFLICT, TOO_MANY_REQUESTS, DATABASE_UNAVAILABLE; the reason of the signal.
   */
  async recordAll(
    principal: Principal,
    events: NewEvent[],
    signal?: AbortSignal,
  ): Promise<WriteReceipt[]> {
    this.requireMayWrite(principal, events, String);
    let written: WriteReceipt[] = [];
    await this.writer.record({
      flow: flowKey(principal),
      signal,
      events,
      batchSize: DEFAULT_BATCH_SIZE,
      pathOf: String,
      answer: (receipts) => {
        written = receipts;
        return { status: 200, location: null, body: '' };
      },
    });
    return written;
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

function singleResponse(receipt: WriteReceipt | undefined): StoredResponse {
  if (!receipt) throw new Error('A single write has one receipt');
  return {
    status: receipt.status === 'created' ? 201 : 200,
    location: `/api/v1/audit/events/${receipt.id}`,
    body: receipt.text(),
  };
}

function bulkResponse(
  receipts: WriteReceipt[],
  batches: number,
  measured: { totalTimeMs: number; utilizationPercent: number },
): StoredResponse {
  const created = receipts.filter(({ status }) => status === 'created').length;
  const round = (value: number) => Math.round(value * 1000) / 1000;
  const body = {
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
  return { status: 201, location: null, body: JSON.stringify(body) };
}
