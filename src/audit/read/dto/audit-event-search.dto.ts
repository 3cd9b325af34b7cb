import { parseInstantOrDay } from '../../../platform/runtime/instant';
import { flag, integer, type Rule } from '../../../validation/constraints';
import {
  ListProperty,
  NestedProperty,
  Property,
  TextProperty,
  WordProperty,
} from '../../../validation/request-properties';
import {
  DATA_CLASSIFICATIONS,
  EVENT_STATUSES,
  type DataClassification,
  type EventStatus,
} from '../../event/audit-event';
import type { AuditEventFilter, AuditEventSort } from '../../event/audit-event-filter';
import type { PageQuery } from '../audit-pages';
import {
  instant,
  MAX_CURSOR_LENGTH,
  MAX_LIST_ELEMENTS,
  NAME,
  word,
} from './audit-events-query.dto';

/** A list of alternatives; it may be left out or null. */
const AnyOf = (element: readonly [Rule, object], description: string): PropertyDecorator =>
  ListProperty(element, MAX_LIST_ELEMENTS, { nullable: true, description });

/** Half-open: from `startDate` on, up to but not including `endDate`. */
export class DateRangeDto {
  @Property(instant, { type: String }, { description: 'From this instant or day on.' })
  startDate?: string | null;

  @Property(
    instant,
    { type: String },
    { description: 'Up to but not including this instant or day.' },
  )
  endDate?: string | null;
}

/** Which events, as the doors beside REST spell it: lists are alternatives, members all hold. */
export class AuditEventFilterDto {
  @NestedProperty(() => DateRangeDto)
  dateRange?: DateRangeDto | null;

  @AnyOf(NAME, 'Of these organizations only. Left out: of all that the token names.')
  organizationIds?: string[] | null;

  @AnyOf(NAME, 'By these principals.')
  principalIds?: string[] | null;

  @AnyOf(NAME, 'These actions.')
  actions?: string[] | null;

  @AnyOf(word(EVENT_STATUSES), 'With these outcomes.')
  statuses?: EventStatus[] | null;

  @AnyOf(word(DATA_CLASSIFICATIONS), 'Of these classifications.')
  dataClassifications?: DataClassification[] | null;

  @AnyOf(NAME, 'On resources of these types.')
  resourceTypes?: string[] | null;

  @AnyOf(NAME, 'On these resources.')
  resourceIds?: string[] | null;

  @AnyOf(NAME, 'With these correlation ids.')
  correlationIds?: string[] | null;
}

/** In which order. */
export class AuditEventSortDto {
  @WordProperty(['timestamp', 'sequence'], {
    description: 'By when it happened, or by the order in which its organization recorded it.',
  })
  field?: AuditEventSort['field'] | null;

  @WordProperty(['asc', 'desc'], { description: 'Oldest or newest first. Left out: desc.' })
  direction?: AuditEventSort['direction'] | null;
}

/** Which part of the list. */
export class PaginationDto {
  // How far limit and offset may go is configured; the service checks it.
  @Property(
    integer(1, 1000),
    { type: 'integer', minimum: 1, maximum: 1000 },
    {
      description:
        'Events a page, at most PAGINATION_MAX_LIMIT. Left out: PAGINATION_DEFAULT_LIMIT.',
    },
  )
  limit?: number | null;

  @Property(
    integer(0, Number.MAX_SAFE_INTEGER),
    { type: 'integer', minimum: 0 },
    {
      description:
        'Events to skip, at most PAGINATION_MAX_OFFSET. Left out: 0. Deeper pages need `cursor`.',
    },
  )
  offset?: number | null;

  @TextProperty(MAX_CURSOR_LENGTH, { description: 'Where another page of the same list ended.' })
  cursor?: string | null;

  @NestedProperty(() => AuditEventSortDto)
  sort?: AuditEventSortDto | null;

  @Property(
    flag,
    { type: Boolean },
    { description: 'Whether to count: exact up to 10 000. Left out: as the door says.' },
  )
  includeTotal?: boolean | null;
}

/** A search for events, as the doors beside REST take it. */
export class AuditEventSearchDto {
  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @NestedProperty(() => PaginationDto)
  pagination?: PaginationDto | null;

  @Property(
    flag,
    { type: Boolean },
    { description: 'Whether a kept answer will do. Left out: true.' },
  )
  useCache?: boolean | null;

  @Property(
    integer(60, 3600),
    { type: 'integer', minimum: 60, maximum: 3600 },
    { description: 'Seconds to keep the answer. Left out: as configured.' },
  )
  cacheTTL?: number | null;
}

/** The filter that such a search spells. */
export function filterIn(filter: AuditEventFilterDto | null | undefined): AuditEventFilter {
  const { dateRange, ...lists } = filter ?? {};
  const instantOf = (value?: string | null) =>
    value === undefined || value === null ? undefined : parseInstantOrDay(value);
  const given = Object.entries(lists).filter(([, value]) => value !== null);
  return {
    startDate: instantOf(dateRange?.startDate),
    endDate: instantOf(dateRange?.endDate),
    ...(Object.fromEntries(given) as Omit<AuditEventFilter, 'startDate' | 'endDate'>),
  };
}

/** The page that such a search asks for. An offset of 0 beside a cursor is the default of a door, not a wish. */
export function pageQueryIn({ filter, pagination }: AuditEventSearchDto): PageQuery {
  const { limit, offset, cursor, sort, includeTotal } = pagination ?? {};
  const isDefault = offset === 0 && typeof cursor === 'string';
  return {
    filter: filterIn(filter),
    sort: {
      ...(sort?.field ? { field: sort.field } : {}),
      ...(sort?.direction ? { direction: sort.direction } : {}),
    },
    limit: limit ?? undefined,
    offset: isDefault ? undefined : (offset ?? undefined),
    cursor: cursor ?? undefined,
    includeTotal: includeTotal ?? undefined,
  };
}
