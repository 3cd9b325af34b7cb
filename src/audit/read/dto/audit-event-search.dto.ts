import { flag, integer } from '../../../validation/constraints';
import {
  NestedProperty,
  Property,
  TextProperty,
  WordProperty,
} from '../../../validation/dto-properties';
import type { AuditEventFilter, AuditEventSort, EventFilter } from '../../event/audit-event-filter';
import { MAX_QUERY_LENGTH } from '../../event/event-query';
import type { PageQuery } from '../audit-pages';
import {
  AlternativesProperty,
  instant,
  MAX_CURSOR_LENGTH,
  MetadataTermsProperty,
  OPERATORS,
  QUERY_DESCRIPTION,
  queryRule,
  rangeOf,
  withFilterLists,
} from './audit-events-query.dto';

const Alternatives = ({
  description,
  ...filter
}: Pick<EventFilter, 'description' | 'words' | 'isAddress'> & { list?: string }) =>
  AlternativesProperty(filter, {
    nullable: true,
    description: `${description}${filter.list !== undefined && !filter.words ? OPERATORS : ''}`,
  });

/** Half-open: from `startDate` on, up to but not including `endDate`. */
export class DateRangeDto {
  @Property(instant, { type: String }, { description: 'From this instant or day on.' })
  startDate?: string | null;

  @Property(
    instant,
    { type: String },
    { description: 'Up to but not including this instant or day. After `startDate`.' },
  )
  endDate?: string | null;
}

class TenantsAndTime {
  @NestedProperty(() => DateRangeDto)
  dateRange?: DateRangeDto | null;

  @Alternatives({
    description: 'Of these organizations only. Left out: of all that the token names.',
  })
  organizationIds?: string[] | null;

  @MetadataTermsProperty({ nullable: true })
  metadata?: string[] | null;

  @Property(
    queryRule,
    { type: String, minLength: 1, maxLength: MAX_QUERY_LENGTH },
    { description: QUERY_DESCRIPTION },
  )
  q?: string | null;
}

/** Filter of GraphQL and tRPC: lists are alternatives, members all hold. */
export class AuditEventFilterDto extends withFilterLists(TenantsAndTime, 'list', Alternatives) {}

export class AuditEventSortDto {
  @WordProperty(['timestamp', 'sequence'], {
    description: 'By when it happened, or by the order in which its organization recorded it.',
  })
  field?: AuditEventSort['field'] | null;

  @WordProperty(['asc', 'desc'], { description: 'Oldest or newest first. Left out: desc.' })
  direction?: AuditEventSort['direction'] | null;
}

export class PaginationDto {
  // Configured limits are checked by the service.
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
    { description: 'Whether to count: exact up to 10 000. Left out: the default of the protocol.' },
  )
  includeTotal?: boolean | null;
}

export const UseCacheProperty = (): PropertyDecorator =>
  Property(
    flag,
    { type: Boolean },
    { description: 'Whether a kept answer will do. Left out: true.' },
  );

export const CacheTtlProperty = (): PropertyDecorator =>
  Property(
    integer(60, 3600),
    { type: 'integer', minimum: 60, maximum: 3600 },
    { description: 'Seconds to keep the answer. Left out: as configured.' },
  );

export class AuditEventSearchDto {
  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @NestedProperty(() => PaginationDto)
  pagination?: PaginationDto | null;

  @UseCacheProperty()
  useCache?: boolean | null;

  @CacheTtlProperty()
  cacheTTL?: number | null;
}

export function filterIn(filter: AuditEventFilterDto | null | undefined): AuditEventFilter {
  const { dateRange, ...lists } = filter ?? {};
  const given = Object.entries(lists).filter(([, value]) => value !== null);
  return {
    ...rangeOf([dateRange?.startDate, dateRange?.endDate], 'filter.dateRange.endDate'),
    ...(Object.fromEntries(given) as Omit<AuditEventFilter, 'startDate' | 'endDate'>),
  };
}

/** Page request of a search. An offset of 0 beside a cursor is a default of GraphQL. */
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
