import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { mayWrite, type Principal, requireOrganizations } from '../../auth/principal';
import { FairScheduler, flowKey } from '../../concurrency/fair-scheduler';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { auditConfig } from '../../platform/config/settings';
import { AppError, type FieldError, validationFailed } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { type FineInstant, formatInstant, parseFineInstant } from '../../platform/runtime/instant';
import { exactJsonText } from '../../platform/runtime/lossless-json';
import type { NewEvent } from '../event/audit-event';
import type {
  BulkCreateAuditEventsDto,
  CreateAuditEventDto,
} from '../event/dto/create-audit-event.dto';
import type { BulkCreateResultDto } from '../event/dto/responses.dto';
import { eventMicros, uuid7 } from '../event/uuid7';
import { EventSchemas } from '../schemas/event-schemas';
import { AuditWriter } from './audit-writer';
import type { WriteReceipt, WriteRequest, Written } from './batch-committer';
import { schemaErrors } from './schema.participant';

const DEFAULT_BATCH_SIZE = 1000;
/** Events that are completed in one iteration of the event loop: about a millisecond, or more with a schema. */
const PORTION_EVENTS = 250;
/** Time of a portion, after which it ends: a check takes as long as its schema says. */
const PORTION_MS = 5;

/** Options of a write; without a signal it waits without a limit. */
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

/** Commands that record events, for every protocol. They check that the principal may write to the organizations. */
@Injectable()
export class AuditService {
  constructor(
    private readonly writer: AuditWriter,
    private readonly scheduler: FairScheduler,
    private readonly yielder: EventLoopYielder,
    private readonly schemas: EventSchemas,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
  ) {
    writer.onStalledRequests((requests) => scheduler.setExtraPermits(requests));
  }

  /**
   * Records one event. The receipt is `duplicate` when an event with the client's id and the same content exists.
   * @throws AppError FORBIDDEN, CONFLICT, VALIDATION_FAILED (schemas); errors of AuditWriter.write.
   */
  async create(
    principal: Principal,
    dto: CreateAuditEventDto,
    { claim, signal }: WriteOptions = {},
  ): Promise<RecordedEvent> {
    this.requireMayWrite(principal, [dto], rootPath);
    const { receipts, text, replayed } = await this.write({
      flow: flowKey(principal),
      signal,
      claim,
      form: 'event',
      events: [this.newEvent(dto)],
      batchSize: DEFAULT_BATCH_SIZE,
      pathOf: rootPath,
      textOf: textOfFirst,
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
    this.requireBulkSize(dto.events);
    this.requireMayWrite(principal, dto.events, pathOf);
    let result: BulkCreateResultDto | undefined;
    const { text, replayed } = await this.write({
      ...{ flow: flowKey(principal), signal, claim, form: 'list', pathOf },
      events: await this.makeAll(dto.events, signal),
      batchSize: dto.batchSize ?? DEFAULT_BATCH_SIZE,
      textOf: (receipts, batches) => {
        const totalTimeMs = performance.now() - startedMs;
        const utilizationPercent = this.scheduler.utilizationOf(principal);
        result = bulkResult(receipts, batches, { totalTimeMs, utilizationPercent });
        return JSON.stringify(result);
      },
    });
    // A replay has the text of the first acknowledgement.
    if (replayed || !result) result = JSON.parse(text) as BulkCreateResultDto;
    return { result, text, replayed };
  }

  /**
   * Records events in one transaction, all or none. Paths of violations begin with an event's index (`3.id`).
   * @throws AppError FORBIDDEN, CONFLICT, VALIDATION_FAILED (schemas), TOO_MANY_REQUESTS, DATABASE_UNAVAILABLE; the reason
   * of the signal.
   */
  async recordAll(
    principal: Principal,
    events: NewEvent[],
    signal?: AbortSignal,
  ): Promise<readonly WriteReceipt[]> {
    this.requireMayWrite(principal, events, String);
    const { receipts } = await this.write(listRequest(principal, events, signal));
    return receipts;
  }

  /**
   * As `recordAll`, for events that the service itself makes of what the principal did: no schema of their organization can
   * prevent them.
   */
  async recordOwn(principal: Principal, events: NewEvent[]): Promise<void> {
    this.requireMayWrite(principal, events, String);
    await this.writer.write(listRequest(principal, events, undefined));
  }

  /** The event of a valid DTO, checked against its schema where that is at hand. */
  newEvent(dto: CreateAuditEventDto): NewEvent {
    const event = newEventOf(dto);
    this.schemas.checkParsed(event, dto);
    return event;
  }

  /** @throws AppError VALIDATION_FAILED for more than BULK_MAX_EVENTS; the validator refuses a body without a list. */
  requireBulkSize(events: unknown): void {
    const { bulkMaxEvents } = this.limits;
    if (!Array.isArray(events) || events.length <= bulkMaxEvents) return;
    const message = `must be at most ${bulkMaxEvents} elements, not ${events.length}`;
    throw validationFailed([{ path: 'events', message }]);
  }

  /** Writes events that match their schemas. Others are refused, unless they may repeat what is stored. */
  private async write(request: WriteRequest): Promise<Written> {
    const checked = this.schemas.check(request.events, request.signal);
    const faults = checked && (await checked);
    if (!faults || faults.size === 0) return this.writer.write(request);
    const withFaults = { ...request, faults };
    const { claim, events } = request;
    const mayRepeat =
      claim !== undefined || events.some((e, at) => e.hasClientId && faults.has(at));
    if (!mayRepeat) throw validationFailed(schemaErrors(withFaults));
    return this.writer.write(withFaults);
  }

  /** Completes validated events in portions, between which the event loop serves others. @throws the signal's reason. */
  private async makeAll(
    dtos: readonly CreateAuditEventDto[],
    signal?: AbortSignal,
  ): Promise<NewEvent[]> {
    const events: NewEvent[] = [];
    let [begin, startedMs] = [0, performance.now()];
    for (const dto of dtos) {
      events.push(this.newEvent(dto));
      const isLong = performance.now() - startedMs >= PORTION_MS;
      if (!isLong && events.length - begin < PORTION_EVENTS) continue;
      if (isLong || dtos.length > PORTION_EVENTS) await this.yielder.yieldIfDue(signal);
      [begin, startedMs] = [events.length, performance.now()];
    }
    return events;
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
      requireOrganizations(principal);
      throw new AppError('FORBIDDEN', 'The token does not allow writing to every organization.', {
        errors,
      });
    }
  }
}

function listRequest(
  principal: Principal,
  events: NewEvent[],
  signal: AbortSignal | undefined,
): WriteRequest {
  return {
    ...{ flow: flowKey(principal), signal, events, form: 'list', pathOf: String },
    batchSize: DEFAULT_BATCH_SIZE,
  };
}

const rootPath = (): string => '';
const textOfFirst = ([receipt]: readonly WriteReceipt[]): string => receipt?.text() ?? '';

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

/** Completes a validated event: id, timestamp, first target and defaults, JSON as minified text. */
export function newEventOf(dto: CreateAuditEventDto): NewEvent {
  const given = typeof dto.timestamp === 'string' ? parseFineInstant(dto.timestamp) : undefined;
  const first = dto.targets?.[0];
  const { micros, submicros }: FineInstant = given ?? { micros: eventMicros(), submicros: '' };
  return {
    id: dto.id?.toLowerCase() ?? uuid7(micros),
    hasClientId: typeof dto.id === 'string',
    timestamp: formatInstant(micros),
    timestampSubmicros: submicros === '' ? null : submicros,
    hasClientTimestamp: given !== undefined,
    organizationId: dto.organizationId,
    principalId: dto.principalId ?? null,
    action: dto.action,
    targetResourceType: dto.targetResourceType ?? first?.type ?? null,
    targetResourceId: dto.targetResourceId ?? first?.id ?? null,
    status: dto.status,
    outcomeDescription: dto.outcomeDescription ?? null,
    dataClassification: dto.dataClassification ?? 'INTERNAL',
    correlationId: dto.correlationId ?? null,
    sessionContext: dto.sessionContext ? exactJsonText(dto.sessionContext) : null,
    metadata: dto.metadata ? exactJsonText(dto.metadata) : null,
    principalType: dto.principalType ?? null,
    principalName: dto.principalName ?? null,
    targets: dto.targets ? exactJsonText(dto.targets) : null,
    changes: dto.changes ? exactJsonText(dto.changes) : null,
    source: dto.source ? exactJsonText(dto.source) : null,
    schemaVersion: dto.schemaVersion ?? null,
  };
}
