import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { mayWrite, resolveOrganizations, type Principal } from '../auth/principal';
import type { IdempotencyClaim, StoredAnswer } from '../concurrency/idempotency-keys';
import { auditConfig } from '../config/audit.config';
import { paginationConfig } from '../config/pagination.config';
import { AppError, type FieldError, validationFailed } from '../errors/app-error';
import { CursorCodec } from '../pagination/cursor.codec';
import { TOTAL_EXACT_UP_TO } from '../pagination/page';
import { AuditEventAnswer, AuditEventPage, positionOf } from './audit-event-page';
import {
  filterFingerprint,
  type AuditEventFilter,
  type AuditEventSort,
} from './audit-event-filter';
import { AuditQueries } from './audit.queries';
import { AuditWriter } from './audit-writer';
import type { BulkCreateAuditEventsDto, CreateAuditEventDto } from './dto/create-audit-event.dto';
import { newEventOf } from './new-event';
import type { Position } from './page-statement';
import type { WriteReceipt } from './write-group';

const DEFAULT_BATCH_SIZE = 1000;

/** Which page of a list. */
export interface PageQuery {
  filter: AuditEventFilter;
  sort?: Partial<AuditEventSort>;
  limit?: number;
  offset?: number;
  cursor?: string;
  includeTotal?: boolean;
}

/** An answer to a write, and whether it was given before. */
export interface Recorded {
  answer: StoredAnswer;
  replayed: boolean;
}

/** What can be done with audit events; the one service behind every door. Says who may see and write what. */
@Injectable()
export class AuditService {
  constructor(
    private readonly writer: AuditWriter,
    private readonly queries: AuditQueries,
    private readonly cursors: CursorCodec,
    @Inject(paginationConfig.KEY) private readonly paging: ConfigType<typeof paginationConfig>,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
  ) {}

  /** Stores one event: 201, or 200 with the stored one when the client's id exists with the same content. */
  async create(
    principal: Principal,
    dto: CreateAuditEventDto,
    claim?: IdempotencyClaim,
  ): Promise<Recorded> {
    this.requireMayWrite(principal, [dto], () => '');
    return this.writer.record({
      events: [newEventOf(dto)],
      batchSize: DEFAULT_BATCH_SIZE,
      pathOf: () => '',
      claim,
      answer: ([receipt]) => singleAnswer(receipt),
    });
  }

  /** Stores all events of a bulk request, or none. */
  async createBulk(
    principal: Principal,
    dto: BulkCreateAuditEventsDto,
    claim?: IdempotencyClaim,
  ): Promise<Recorded> {
    const startedMs = performance.now();
    const pathOf = (index: number) => `events[${index}]`;
    if (dto.events.length > this.limits.bulkMaxEvents) {
      const message = `must be at most ${this.limits.bulkMaxEvents} elements, not ${dto.events.length}`;
      throw validationFailed([{ path: 'events', message }]);
    }
    this.requireMayWrite(principal, dto.events, pathOf);
    return this.writer.record({
      events: dto.events.map(newEventOf),
      batchSize: dto.batchSize ?? DEFAULT_BATCH_SIZE,
      pathOf,
      claim,
      answer: (receipts, batches) =>
        bulkAnswer(receipts, batches, {
          totalTimeMs: performance.now() - startedMs,
          utilizationPercent: this.writer.utilizationPercent(),
        }),
    });
  }

  /** A page of the events that the principal may see. */
  async findPage(principal: Principal, query: PageQuery): Promise<AuditEventPage> {
    const limit = query.limit ?? this.paging.defaultLimit;
    this.requireSaneBounds(limit, query);
    const organizations = resolveOrganizations(principal, query.filter.organizationIds);
    const sort: AuditEventSort = { field: 'timestamp', direction: 'desc', ...query.sort };
    const binding = JSON.stringify([
      principal.subject,
      organizations,
      filterFingerprint(query.filter, sort),
    ]);
    const from = query.cursor === undefined ? undefined : this.positionIn(query.cursor, binding);
    const list = { organizations, filter: query.filter, sort };
    const found = await this.queries.findPage({
      ...list,
      sort: from?.backward ? reversed(sort) : sort,
      after: from?.position,
      limit: limit + 1,
      offset: query.offset ?? 0,
    });
    const total = query.includeTotal ? await this.queries.count(list) : undefined;
    const events = found.slice(0, limit);
    if (from?.backward) events.reverse();
    const isMore = found.length > limit;
    const hasNext = from?.backward ? true : isMore;
    const hasPrevious = from?.backward ? isMore : from !== undefined || (query.offset ?? 0) > 0;
    const cursorAt = (text: string | undefined, backward: boolean) =>
      text === undefined ? undefined : this.cursors.encode([backward, positionOf(text)], binding);
    return new AuditEventPage(events, {
      limit,
      ...(from ? {} : { offset: query.offset ?? 0 }),
      ...(total === undefined ? {} : totals(total)),
      hasNext,
      hasPrevious,
      nextCursor: hasNext ? cursorAt(events.at(-1), false) : undefined,
      previousCursor: hasPrevious ? cursorAt(events[0], true) : undefined,
    });
  }

  /**
   * One event.
   * @throws AppError NOT_FOUND also when it is another organization's, in the same words.
   */
  async findById(
    principal: Principal,
    id: string,
    organizationIds?: string[],
  ): Promise<AuditEventAnswer> {
    const organizations = resolveOrganizations(principal, organizationIds);
    const text = await this.queries.findById(organizations, id.toLowerCase());
    if (text === undefined) throw new AppError('NOT_FOUND', 'There is no event with this id.');
    return new AuditEventAnswer(text);
  }

  private requireMayWrite(
    principal: Principal,
    events: CreateAuditEventDto[],
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

  private requireSaneBounds(limit: number, { offset, cursor }: PageQuery): void {
    const errors: FieldError[] = [];
    if (limit > this.paging.maxLimit) {
      errors.push({ path: 'limit', message: `must be at most ${this.paging.maxLimit}` });
    }
    if (offset !== undefined && offset > this.paging.maxOffset) {
      const message = `must be at most ${this.paging.maxOffset}; use the cursor for deeper pages`;
      errors.push({ path: 'offset', message });
    }
    if (offset !== undefined && cursor !== undefined) {
      errors.push({ path: 'offset', message: 'cannot be combined with cursor' });
    }
    if (errors.length > 0) throw validationFailed(errors);
  }

  private positionIn(cursor: string, binding: string): { backward: boolean; position: Position } {
    const [backward, position] = this.cursors.decode(cursor, binding) as [boolean, Position];
    return { backward, position };
  }
}

function reversed(sort: AuditEventSort): AuditEventSort {
  return { ...sort, direction: sort.direction === 'asc' ? 'desc' : 'asc' };
}

function totals(counted: number): { total: number; totalIsExact: boolean } {
  return {
    total: Math.min(counted, TOTAL_EXACT_UP_TO),
    totalIsExact: counted <= TOTAL_EXACT_UP_TO,
  };
}

function singleAnswer(receipt: WriteReceipt | undefined): StoredAnswer {
  if (!receipt) throw new Error('A single write has one receipt');
  return {
    status: receipt.status === 'created' ? 201 : 200,
    location: `/api/v1/audit/events/${receipt.id}`,
    body: receipt.text(),
  };
}

function bulkAnswer(
  receipts: WriteReceipt[],
  batches: number,
  measured: { totalTimeMs: number; utilizationPercent: number },
): StoredAnswer {
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
