import { ApiProperty } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { parseInstantOrDay } from '../../../platform/runtime/instant';
import { flag, integer, Nested } from '../../../validation/constraints';
import {
  DATA_CLASSIFICATIONS,
  EVENT_STATUSES,
  type DataClassification,
  type EventStatus,
} from '../../event/audit-event';
import type { AuditEventFilter, AuditEventSort } from '../../event/audit-event-filter';
import type { PageQuery } from '../audit-pages';
import { instant, MAX_CURSOR_LENGTH } from './audit-events-query.dto';
import {
  NamesProperty,
  Property,
  TextProperty,
  WordProperty,
  WordsProperty,
} from '../../event/dto/property-decorators';

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
  @IsOptional()
  @Nested(() => DateRangeDto)
  @ApiProperty({ type: () => DateRangeDto, required: false, nullable: true })
  dateRange?: DateRangeDto | null;

  @NamesProperty('Of these organizations only. Left out: of all that the token names.')
  organizationIds?: string[] | null;

  @NamesProperty('By these principals.')
  principalIds?: string[] | null;

  @NamesProperty('These actions.')
  actions?: string[] | null;

  @WordsProperty(EVENT_STATUSES, 'With these outcomes.')
  statuses?: EventStatus[] | null;

  @WordsProperty(DATA_CLASSIFICATIONS, 'Of these classifications.')
  dataClassifications?: DataClassification[] | null;

  @NamesProperty('On resources of these types.')
  resourceTypes?: string[] | null;

  @NamesProperty('On these resources.')
  resourceIds?: string[] | null;

  @NamesProperty('With these correlation ids.')
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

  @IsOptional()
  @Nested(() => AuditEventSortDto)
  @ApiProperty({ type: () => AuditEventSortDto, required: false, nullable: true })
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
  @IsOptional()
  @Nested(() => AuditEventFilterDto)
  @ApiProperty({ type: () => AuditEventFilterDto, required: false, nullable: true })
  filter?: AuditEventFilterDto | null;

  @IsOptional()
  @Nested(() => PaginationDto)
  @ApiProperty({ type: () => PaginationDto, required: false, nullable: true })
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
