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
import { AuditQueries, type FoundCount, type TextLimits } from './audit.queries';
import type { LogPageRequest } from './log-page';
import { AdvancingPositions, MAX_POSITIONS, parsePositions, positionsText } from './log-positions';
import type { PageRequest } from './page-statement';
import {
  type LogPosition,
  logPositionOf,
  type LogPositions,
  type Position,
  positionOf,
} from './position';
import { ReadPace } from './read-pace';

export interface PageQuery {
  filter: AuditEventFilter;
  sort?: Partial<AuditEventSort>;
  limit?: number;
  offset?: number;
  cursor?: string;
  includeTotal?: boolean;
}

/**
 * An end of a page: an event in the list's order. In a list in the order of recording, the positions of its
 * organizations (positionsText): an organization that begins to record later, or has recorded less, is not skipped.
 */
export type PageEdge = Position | string;

/** The edge before all events of a list that is not a log: its cursor leads to the first page. */
const BEGINNING_OF_LIST = 'beginning';
/** The edge after all of them, from where the list is read backward. */
const END_OF_LIST = 'end';

/** The two ends of a page, from which its neighbours start; absent where there is none. */
export interface PageEdges {
  next?: PageEdge;
  previous?: PageEdge;
  /** Events to skip after `next`: the rest of an offset. */
  skip?: number | undefined;
  /** Cursor of the present end of an ascending list; null for other pages. */
  resume: PageEdge | null;
}

/** A page without cursors, the same for all readers of these organizations, as JSON texts. */
export interface FoundPage {
  events: readonly string[];
  info: PageInfo;
  edges: PageEdges;
  /** False when its events or its total are what could be found in the time. */
  isComplete: boolean;
}

export interface CursorPosition {
  backward: boolean;
  edge: PageEdge;
  /** Events that are to be skipped from there on: the rest of an offset, where the search for it ended for want of time. */
  skip?: number | undefined;
}

type List = Pick<PageRequest, 'organizations' | 'filter' | 'sort'>;

export interface PageDescription {
  list: List;
  limit: number;
  offset: number;
  from?: CursorPosition;
  includeTotal: boolean;
  /** In the order of recording: its cursors hold the positions of all of its organizations. */
  isLog: boolean;
  /** Bound into the page's cursors: they hold for this principal, list and sort only. */
  binding: string;
}

@Injectable()
export class AuditPages {
  private partialPages = 0;

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
    const from = this.startIn(query.cursor, binding, list);
    const isLog = isLogList(list) && typeof (from?.edge ?? '') === 'string';
    const skipped = from?.skip ?? offset;
    const page = { list, limit, offset: skipped, includeTotal, isLog, binding };
    return from ? { ...page, from } : page;
  }

  /**
   * Reads a page at the pace given; the signal cancels the statement.
   * @throws AppError REQUEST_TOO_LARGE when its events exceed `maxBytes`, by default the capacity of this process; what the reservation throws; TIMELINE_CHANGED
   * when a page by sequence starts after an event that is another one now.
   */
  async read(
    page: PageDescription,
    signal?: AbortSignal,
    limits: TextLimits = {},
    pace = ReadPace.unlimited(signal),
  ): Promise<FoundPage> {
    const how: Reading = { signal, limits: { maxBytes: this.memory.pageBytes, ...limits }, pace };
    const { events, hasNext, hasPrevious, isPartial, edges } = page.isLog
      ? await this.readLog(page, how)
      : await this.readList(page, how);
    const { list, limit, offset, from, includeTotal } = page;
    const total = includeTotal ? await this.queries.count(list, signal, pace) : undefined;
    if (isPartial) this.partialPages += 1;
    return {
      events,
      info: {
        limit,
        ...(from ? {} : { offset }),
        ...(total === undefined ? {} : totals(total, events.length)),
        hasNext,
        hasPrevious,
        ...(isPartial ? { partial: true } : {}),
      },
      edges,
      isComplete: !isPartial && total?.isPartial !== true,
    };
  }

  /** Pages since the start whose time was over before they were full. */
  statistics(): { partialPages: number } {
    return { partialPages: this.partialPages };
  }

  private async readList(
    { list, limit, offset, from }: PageDescription,
    { signal, limits, pace }: Reading,
  ): Promise<ReadPage> {
    const backward = from?.backward ?? false;
    const request = {
      ...list,
      sort: backward ? reversed(list.sort) : list.sort,
      after: eventBefore(from),
      limit: limit + 1, // one more shows whether there is a next page
      offset,
    };
    const found = await this.queries.findPage(request, signal, limits, pace);
    const { texts, isPartial = false, reached, offset: skip = 0 } = found;
    const isMore = texts.length > limit;
    const events = texts.slice(0, limit);
    if (backward) events.reverse();
    const hasNext = backward || isMore || reached !== undefined;
    const hasPrevious = from
      ? !backward || isMore || reached !== undefined
      : offset > 0 &&
        (events.length > 0 ||
          (isPartial ? skip < offset : !(await this.isEmpty(list, { signal, limits, pace }))));
    const [first, last] = [events[0], events.at(-1)].map((event) => event && edgeOf(event, list));
    // Where a search ended the list goes on in both directions.
    const searched = reached && cursorPositionOf(reached, list);
    // Without an event in between, the neighbours of a page begin at the ends of the list.
    const next = backward ? (last ?? searched ?? BEGINNING_OF_LIST) : (searched ?? last);
    // The event at the end of a search within an offset may be one that was skipped.
    const passed = searched && (offset > 0 ? { ...searched, isIncluded: true as const } : searched);
    const previous = backward ? (searched ?? first) : (first ?? passed ?? END_OF_LIST);
    const isEnd = !hasNext && list.sort.direction === 'asc' && list.sort.field === 'timestamp';
    // Without an event of a page within an offset it is not known where the list ends.
    const end = last ?? (offset > 0 ? undefined : from?.edge);
    const resume = isEnd ? (end ?? (hasPrevious ? null : BEGINNING_OF_LIST)) : null;
    return {
      events,
      hasNext,
      hasPrevious,
      isPartial,
      edges: {
        ...(hasNext && next ? { next } : {}),
        ...(hasPrevious && previous ? { previous } : {}),
        ...(isPartial && skip > 0 ? { skip } : {}),
        resume,
      },
    };
  }

  private async readLog(
    { list, limit, offset, from }: PageDescription,
    { signal, limits, pace }: Reading,
  ): Promise<ReadPage> {
    const backward = from?.backward ?? false;
    const request: LogPageRequest = {
      organizations: organizationsOf(list),
      filter: list.filter,
      from: from && edgePositions(from.edge, list),
      backward,
      limit,
      offset,
    };
    const found = await this.queries.findLogPage(request, signal, limits, pace);
    const { texts, isMore, isPartial = false, before, after, offset: skip = 0 } = found;
    const hasNext = backward || isMore || isPartial;
    const hasPrevious = from
      ? !backward || isMore || isPartial
      : offset > 0 &&
        (texts.length > 0 ||
          (isPartial ? skip < offset : !(await this.isEmpty(list, { signal, limits, pace }))));
    const end = positionsText(organizationsOf(list), after);
    return {
      events: texts,
      hasNext,
      hasPrevious,
      isPartial,
      edges: {
        ...(hasNext ? { next: end } : {}),
        ...(hasPrevious && before
          ? { previous: positionsText(organizationsOf(list), before) }
          : {}),
        ...(isPartial && skip > 0 ? { skip } : {}),
        resume: hasNext ? null : end,
      },
    };
  }

  pageInfo(info: PageInfo, { next, previous, skip, resume }: PageEdges, binding: string): PageInfo {
    const after = [false, next, ...(skip === undefined ? [] : [skip])];
    return {
      ...info,
      ...(next ? { nextCursor: this.cursors.encode(after, binding) } : {}),
      ...(previous ? { previousCursor: this.cursors.encode([true, previous], binding) } : {}),
      ...(resume === null ? {} : { resumeCursor: this.cursors.encode([false, resume], binding) }),
    };
  }

  /**
   * Cursors after single events of a page that was read; `eventAt` gives the position of the event at an index. The last
   * one is kept: GraphQL may select it several times for an event.
   */
  cursorsIn(
    page: PageDescription,
    edges: PageEdges,
    eventAt: (index: number) => Position,
  ): (index: number) => string {
    const { list, binding, isLog } = page;
    const edgeAt = isLog
      ? logEdgesIn(list, edges, eventAt)
      : (index: number) => cursorPositionOf(eventAt(index), list);
    let last: { index: number; cursor: string } | undefined;
    return (index) => {
      if (last?.index !== index) {
        last = { index, cursor: this.cursors.encode([false, edgeAt(index)], binding) };
      }
      return last.cursor;
    };
  }

  /** False for a list whose search ended for want of time, too. */
  private async isEmpty(list: List, { signal, limits, pace }: Reading): Promise<boolean> {
    const first = { ...list, limit: 1, offset: 0 };
    const { texts, isPartial } = await this.queries.findPage(first, signal, limits, pace);
    return texts.length === 0 && !isPartial;
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

  private startIn(
    cursor: string | undefined,
    binding: string,
    list: List,
  ): CursorPosition | undefined {
    if (cursor === undefined) return undefined;
    const [backward, edge, skip] = this.cursors.decode(cursor, binding) as DecodedCursor;
    if (edge === BEGINNING_OF_LIST) return undefined;
    const own = isOfOne(list) && !backward ? logEdgeOf(edge, list) : edge;
    return { backward, edge: own, ...(skip === undefined ? {} : { skip }) };
  }
}

type DecodedCursor = [backward: boolean, edge: PageEdge, skip?: number];

interface Reading {
  signal: AbortSignal | undefined;
  limits: TextLimits;
  pace: ReadPace;
}

type ReadPage = Pick<FoundPage, 'events' | 'edges'> &
  Pick<PageInfo, 'hasNext' | 'hasPrevious'> & { isPartial: boolean };

/** True for lists whose cursors hold positions, which only so many organizations have. */
function isLogList({ organizations, sort }: List): boolean {
  if (sort.field !== 'sequence' || sort.direction !== 'asc' || organizations === '*') return false;
  return organizations.length > 0 && organizations.length <= MAX_POSITIONS;
}

function isOfOne(list: List): boolean {
  return isLogList(list) && list.organizations.length === 1;
}

/** Earlier versions wrote the event at the end of a page, which for one organization is its position. */
function logEdgeOf(edge: PageEdge, list: List): PageEdge {
  if (typeof edge === 'string') return edge;
  const { sequence, recordedMicros } = logPositionOf(edge);
  const position = { sequence, recordedMicros };
  return positionsText(organizationsOf(list), new Map([[edge.organizationId, position]]));
}

function organizationsOf({ organizations }: List): readonly string[] {
  return organizations === '*' ? [] : organizations;
}

/** The event after which a list starts that is not in the order of recording. */
function eventBefore(from: CursorPosition | undefined): Position | undefined {
  return typeof from?.edge === 'object' ? from.edge : undefined;
}

/** The positions in an edge of a list in the order of recording; without one, its beginning. */
export function edgePositions(edge: PageEdge | undefined, list: List): LogPositions {
  const texts = typeof edge === 'string' ? edge.split('~') : [];
  return parsePositions(texts, organizationsOf(list)) ?? new Map<string, LogPosition>();
}

/** The edges after single events of a page in the order of recording, fastest in the order of the page. */
function logEdgesIn(
  list: List,
  { previous }: PageEdges,
  eventAt: (index: number) => Position,
): (index: number) => string {
  // Not where the page was asked from: events that an offset skipped may be in between.
  const begin = () => new AdvancingPositions(organizationsOf(list), edgePositions(previous, list));
  let positions = begin();
  let passed = 0;
  return (index) => {
    if (index < passed - 1) [positions, passed] = [begin(), 0];
    for (; passed <= index; passed += 1) {
      const event = eventAt(passed);
      positions.set(event.organizationId, logPositionOf(event));
    }
    return positions.toString();
  };
}

/**
 * Characters of a cursor within a page that its events do not have themselves: the positions of all organizations, in
 * base64url. Positions grow, so those at its end have the longest text.
 */
export function positionCharacters({ next, resume }: PageEdges): number {
  const end = next ?? resume;
  return typeof end === 'string' ? Math.ceil((end.length * 4) / 3) : 0;
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
  const position = from ? [from.backward, from.edge, from.skip] : [offset];
  return JSON.stringify([filterFingerprint(list.filter, list.sort), limit, position, includeTotal]);
}

function bindingOf(principal: Principal, { organizations, filter, sort }: List): string {
  return JSON.stringify([principal.subject, organizations, filterFingerprint(filter, sort)]);
}

function reversed(sort: AuditEventSort): AuditEventSort {
  return { ...sort, direction: sort.direction === 'asc' ? 'desc' : 'asc' };
}

/** A count that ended for want of time is a lower bound, as the events of the page are. */
function totals(
  { count, isPartial }: FoundCount,
  found: number,
): Pick<PageInfo, 'total' | 'totalIsExact'> {
  return {
    total: Math.min(isPartial ? Math.max(count, found) : count, TOTAL_EXACT_UP_TO),
    totalIsExact: !isPartial && count <= TOTAL_EXACT_UP_TO,
  };
}
