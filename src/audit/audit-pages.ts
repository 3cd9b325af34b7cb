import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { resolveOrganizations, type Principal } from '../auth/principal';
import { paginationConfig } from '../config/pagination.config';
import { type FieldError, validationFailed } from '../errors/app-error';
import { CursorCodec } from '../pagination/cursor.codec';
import { type PageInfo, TOTAL_EXACT_UP_TO } from '../pagination/page';
import { AuditEventPage, positionOf } from './audit-event-page';
import {
  filterFingerprint,
  type AuditEventFilter,
  type AuditEventSort,
} from './audit-event-filter';
import { AuditQueries } from './audit.queries';
import type { PageRequest, Position } from './page-statement';

/** Which page of a list. */
export interface PageQuery {
  filter: AuditEventFilter;
  sort?: Partial<AuditEventSort>;
  limit?: number;
  offset?: number;
  cursor?: string;
  includeTotal?: boolean;
}

/** Where a cursor points: from this event on, towards the end of the list or its start. */
interface CursorPosition {
  backward: boolean;
  position: Position;
}

type List = Pick<PageRequest, 'organizations' | 'filter' | 'sort'>;

/** Pages of events by offset and by cursor, for those who may see them. */
@Injectable()
export class AuditPages {
  constructor(
    private readonly queries: AuditQueries,
    private readonly cursors: CursorCodec,
    @Inject(paginationConfig.KEY) private readonly config: ConfigType<typeof paginationConfig>,
  ) {}

  /**
   * A page of the events that the principal may see.
   * @throws AppError VALIDATION_FAILED (limit or offset too large), FORBIDDEN (organizations), INVALID_CURSOR.
   */
  async find(principal: Principal, query: PageQuery): Promise<AuditEventPage> {
    const { limit = this.config.defaultLimit, offset = 0 } = query;
    this.requireSaneBounds(limit, query);
    const list: List = {
      organizations: resolveOrganizations(principal, query.filter.organizationIds),
      filter: query.filter,
      sort: { field: 'timestamp', direction: 'desc', ...query.sort },
    };
    const binding = bindingOf(principal, list);
    const from = this.positionIn(query.cursor, binding);
    const found = await this.queries.findPage({
      ...list,
      sort: from?.backward ? reversed(list.sort) : list.sort,
      after: from?.position,
      limit: limit + 1, // one more tells whether there is more
      offset,
    });
    const total = query.includeTotal ? await this.queries.count(list) : undefined;
    const isMore = found.length > limit;
    const events = found.slice(0, limit);
    if (from?.backward) events.reverse();
    const hasNext = from?.backward ? true : isMore;
    const hasPrevious = from
      ? !from.backward || isMore
      : offset > 0 && (events.length > 0 || !(await this.isEmpty(list)));
    const cursorAt = (text: string | undefined, backward: boolean) =>
      text === undefined ? undefined : this.cursors.encode([backward, positionOf(text)], binding);
    return new AuditEventPage(events, {
      limit,
      ...(from ? {} : { offset }),
      ...(total === undefined ? {} : totals(total)),
      hasNext,
      hasPrevious,
      nextCursor: hasNext ? cursorAt(events.at(-1), false) : undefined,
      previousCursor: hasPrevious ? cursorAt(events[0], true) : undefined,
    });
  }

  private async isEmpty(list: List): Promise<boolean> {
    return (await this.queries.findPage({ ...list, limit: 1, offset: 0 })).length === 0;
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

/** What a cursor is good for: this principal, these organizations, this filter and sort. */
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
