import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { type Principal, resolveOrganizations } from '../../auth/principal';
import { ResponseMemory } from '../../http/response-memory';
import { CursorCodec } from '../../pagination/cursor.codec';
import { type PageInfo, TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { paginationConfig } from '../../platform/config/settings';
import { type FieldError, validationFailed } from '../../platform/errors/app-error';
import { withoutSubmicros } from '../../platform/runtime/instant';
import {
  type AuditEventFilter,
  type AuditEventSort,
  filterFingerprint,
} from '../event/audit-event-filter';
import { AuditQueries, type TextLimits } from './audit.queries';
import type { PageRequest } from './page-statement';
import { type Position, positionOf } from './position';

export interface PageQuery {
  filter: AuditEventFilter;
  sort?: Partial<AuditEventSort>;
  limit?: number;
  offset?: number;
  cursor?: string;
  includeTotal?: boolean;
}

/** Events at the two ends of a page, from which its neighbours start; absent where there is none. */
export interface PageEdges {
  next?: Position;
  previous?: Position;
}

/** A page without cursors, the same for all readers of these organizations, as JSON texts. */
export interface FoundPage {
  events: readonly string[];
  info: PageInfo;
  edges: PageEdges;
}

export interface CursorPosition {
  backward: boolean;
  position: Position;
}

type List = Pick<PageRequest, 'organizations' | 'filter' | 'sort'>;

export interface PageDescription {
  list: List;
  limit: number;
  offset: number;
  from?: CursorPosition;
  includeTotal: boolean;
  /** Bound into the page's cursors: they hold for this principal, list and sort only. */
  binding: string;
}

@Injectable()
export class AuditPages {
  constructor(
    private readonly queries: AuditQueries,
    private readonly cursors: CursorCodec,
    private readonly memory: ResponseMemory,
    @Inject(paginationConfig.KEY) private readonly config: ConfigType<typeof paginationConfig>,
  ) {}

  /**
   * Parses a principal's page request.
   * @throws AppError VALIDATION_FAILED (limit or offset too large), FORBIDDEN (organizations), INVALID_CURSOR.
   */
  parse(principal: Principal, query: PageQuery): PageDescription {
    const { limit = this.config.defaultLimit, offset = 0, includeTotal = false } = query;
    this.requireSaneBounds(limit, query);
    const list: List = {
      organizations: resolveOrganizations(principal, query.filter.organizationIds),
      filter: query.filter,
      sort: { field: 'timestamp', direction: 'desc', ...query.sort },
    };
    const binding = bindingOf(principal, list);
    const from = this.positionIn(query.cursor, binding);
    return { list, limit, offset, includeTotal, binding, ...(from ? { from } : {}) };
  }

  /**
   * Reads a page; the signal cancels the statement.
   * @throws AppError REQUEST_TOO_LARGE when its events exceed `maxBytes`, by default the capacity of this process; what the reservation throws; TIMELINE_CHANGED
   * when a page by sequence starts after an event that is another one now.
   */
  async read(
    { list, limit, offset, from, includeTotal }: PageDescription,
    signal?: AbortSignal,
    { maxBytes = this.memory.pageBytes, reservation }: TextLimits = {},
  ): Promise<FoundPage> {
    const request = {
      ...list,
      sort: from?.backward ? reversed(list.sort) : list.sort,
      after: from?.position,
      limit: limit + 1, // one more shows whether there is a next page
      offset,
    };
    const found = await this.queries.findPage(request, signal, { maxBytes, reservation });
    const total = includeTotal ? await this.queries.count(list, signal) : undefined;
    const isMore = found.length > limit;
    const events = found.slice(0, limit);
    if (from?.backward) events.reverse();
    const hasNext = from?.backward ? true : isMore;
    const hasPrevious = from
      ? !from.backward || isMore
      : offset > 0 && (events.length > 0 || !(await this.isEmpty(list, signal)));
    const last = events.at(-1);
    const [first] = events;
    return {
      events,
      info: {
        limit,
        ...(from ? {} : { offset }),
        ...(total === undefined ? {} : totals(total)),
        hasNext,
        hasPrevious,
      },
      edges: {
        ...(hasNext && last !== undefined ? { next: edgeOf(last, list) } : {}),
        ...(hasPrevious && first !== undefined ? { previous: edgeOf(first, list) } : {}),
      },
    };
  }

  pageInfo(info: PageInfo, { next, previous }: PageEdges, binding: string): PageInfo {
    return {
      ...info,
      ...(next ? { nextCursor: this.cursors.encode([false, next], binding) } : {}),
      ...(previous ? { previousCursor: this.cursors.encode([true, previous], binding) } : {}),
    };
  }

  cursorAfter(position: Position, { list, binding }: PageDescription): string {
    return this.cursors.encode([false, cursorPositionOf(position, list)], binding);
  }

  private async isEmpty(list: List, signal?: AbortSignal): Promise<boolean> {
    return (await this.queries.findPage({ ...list, limit: 1, offset: 0 }, signal)).length === 0;
  }

  private requireSaneBounds(limit: number, { offset, cursor }: PageQuery): void {
    const errors: FieldError[] = [];
    if (limit > this.config.maxLimit) {
      errors.push({ path: 'limit', message: `must be at most ${this.config.maxLimit}` });
    }
    if (offset !== undefined && offset > this.config.maxOffset) {
      const message = `must be at most ${this.config.maxOffset}; use the cursor for deeper pages`;
      errors.push({ path: 'offset', message });
    }
    if (offset !== undefined && cursor !== undefined) {
      errors.push({ path: 'offset', message: 'cannot be combined with cursor' });
    }
    if (errors.length > 0) throw validationFailed(errors);
  }

  private positionIn(cursor: string | undefined, binding: string): CursorPosition | undefined {
    if (cursor === undefined) return undefined;
    const [backward, position] = this.cursors.decode(cursor, binding) as [boolean, Position];
    return { backward, position };
  }
}

function edgeOf(eventText: string, list: List): Position {
  return cursorPositionOf(positionOf(eventText), list);
}

/**
 * The position in a cursor. The order by time is that of microseconds and ids. By sequence it also identifies the event, as numbers can be assigned again; a moment is the
 * same on every timeline (docs/adr/0029).
 */
function cursorPositionOf(
  { timestamp, recordedAt, sequence, id, organizationId }: Position,
  { sort }: List,
): Position {
  const position = { timestamp: withoutSubmicros(timestamp), sequence, id, organizationId };
  return sort.field === 'sequence' ? { ...position, recordedAt } : position;
}

/** One text for all spellings of a page. */
export function pageFingerprint(page: PageDescription): string {
  const { list, limit, offset, from, includeTotal } = page;
  const position = from ? [from.backward, from.position] : [offset];
  return JSON.stringify([filterFingerprint(list.filter, list.sort), limit, position, includeTotal]);
}

function bindingOf(principal: Principal, { organizations, filter, sort }: List): string {
  return JSON.stringify([principal.subject, organizations, filterFingerprint(filter, sort)]);
}

function reversed(sort: AuditEventSort): AuditEventSort {
  return { ...sort, direction: sort.direction === 'asc' ? 'desc' : 'asc' };
}

function totals(counted: number): Pick<PageInfo, 'total' | 'totalIsExact'> {
  return {
    total: Math.min(counted, TOTAL_EXACT_UP_TO),
    totalIsExact: counted <= TOTAL_EXACT_UP_TO,
  };
}
