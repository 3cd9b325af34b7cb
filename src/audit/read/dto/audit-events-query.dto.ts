import { applyDecorators } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { parseInstantOrDay } from '../../../platform/runtime/instant';
import {
  flag,
  integer,
  list,
  Check,
  oneOf,
  text,
  type Rule,
} from '../../../validation/constraints';
import { QueryFlag, QueryInteger, QueryList, QueryText } from '../../../validation/query-coercion';
import {
  DATA_CLASSIFICATIONS,
  EVENT_STATUSES,
  MAX_NAME_LENGTH,
  type DataClassification,
  type EventStatus,
} from '../../event/audit-event';
import type { AuditEventFilter, AuditEventSort } from '../../event/audit-event-filter';
import type { PageQuery } from '../audit-pages';
import { MAX_LIST_ELEMENTS } from '../../event/dto/property-decorators';

/** Longer than any cursor that we make. */
export const MAX_CURSOR_LENGTH = 4096;

/** A moment, or the first one of a day. */
export const instant: Rule = (value) =>
  typeof value === 'string' && parseInstantOrDay(value) !== undefined
    ? undefined
    : 'must be an ISO 8601 instant with an offset, such as 2026-11-23T10:30:00Z, or a day, such as 2026-11-23';

interface ListElement {
  /** How an element is documented. */
  schema: { maxLength?: number; minLength?: number; enum?: string[] };
  /** In words: the docs page would send an `example` along with every request that is tried out. */
  example: string;
}

const NAME_SCHEMA = { minLength: 1, maxLength: MAX_NAME_LENGTH };

function ListParameter(element: Rule, description: string, { schema, example }: ListElement) {
  return applyDecorators(
    QueryList(),
    IsOptional(),
    Check(list(1, MAX_LIST_ELEMENTS)),
    Check(element, { each: true }),
    ApiProperty({
      type: 'array',
      items: { type: 'string', ...schema },
      minItems: 1,
      maxItems: MAX_LIST_ELEMENTS,
      required: false,
      description: `${description} Such as \`${example}\`; write \`\\,\` for a comma inside one.`,
      // Comma-separated, as opposed to one parameter for each element.
      style: 'form',
      explode: false,
    } as ApiPropertyOptions),
  );
}

/** A query parameter that may be left out. */
export function Parameter(coercion: PropertyDecorator, rule: Rule, schema: ApiPropertyOptions) {
  return applyDecorators(
    coercion,
    IsOptional(),
    Check(rule),
    ApiProperty({ required: false, ...schema } as ApiPropertyOptions),
  );
}

/** By what to sort. */
export const SortField = (): PropertyDecorator =>
  Parameter(QueryText(), oneOf(['timestamp', 'sequence']), {
    type: String,
    enum: ['timestamp', 'sequence'],
    default: 'timestamp',
    description: 'Sort by when it happened, or by the order in which its organization recorded it.',
  });

/** Which way. */
export const SortDirection = (): PropertyDecorator =>
  Parameter(QueryText(), oneOf(['asc', 'desc']), {
    type: String,
    enum: ['asc', 'desc'],
    default: 'desc',
    description: 'Oldest or newest first.',
  });

const name = text(MAX_NAME_LENGTH, 1);

/** The query parameters of lists and exports that say which events. */
export class AuditEventFilterQuery {
  @Parameter(QueryText(), instant, {
    type: String,
    description:
      'From this instant on (`timestamp`), such as `2026-11-23T10:30:00Z`; a day, such as `2026-11-01`, means its ' +
      'first moment in UTC.',
  })
  start_date?: string;

  @Parameter(QueryText(), instant, {
    type: String,
    description: 'Up to but not including this instant, such as `2026-12-01`.',
  })
  end_date?: string;

  @ListParameter(name, 'Of these organizations only. Left out: of all that the token names.', {
    schema: NAME_SCHEMA,
    example: 'org-1,org-2',
  })
  organization_ids?: string[];

  @ListParameter(name, 'By these principals.', { schema: NAME_SCHEMA, example: 'user-1,user-2' })
  principal_ids?: string[];

  @ListParameter(name, 'These actions.', { schema: NAME_SCHEMA, example: 'user.login,user.logout' })
  actions?: string[];

  @ListParameter(oneOf(EVENT_STATUSES), 'With these outcomes.', {
    schema: { enum: [...EVENT_STATUSES] },
    example: 'failure,attempt',
  })
  statuses?: EventStatus[];

  @ListParameter(oneOf(DATA_CLASSIFICATIONS), 'Of these classifications.', {
    schema: { enum: [...DATA_CLASSIFICATIONS] },
    example: 'CONFIDENTIAL,PHI',
  })
  data_classifications?: DataClassification[];

  @ListParameter(name, 'On resources of these types.', {
    schema: NAME_SCHEMA,
    example: 'Patient,Observation',
  })
  resource_types?: string[];

  @ListParameter(name, 'On these resources.', { schema: NAME_SCHEMA, example: 'pat-1,pat-2' })
  resource_ids?: string[];

  @ListParameter(name, 'With these correlation ids.', {
    schema: NAME_SCHEMA,
    example: 'req-7f3a,req-7f3b',
  })
  correlation_ids?: string[];
}

/** The query parameters of a list of events. */
export class AuditEventsQuery extends AuditEventFilterQuery {
  @SortField()
  sort_field?: AuditEventSort['field'];

  @SortDirection()
  sort_direction?: AuditEventSort['direction'];

  // How far limit and offset may go is configured; the service checks it.
  @Parameter(QueryInteger(), integer(1, 1000), {
    type: 'integer',
    minimum: 1,
    maximum: 1000,
    default: 50,
    description: 'Events a page, at most PAGINATION_MAX_LIMIT (1000 unless configured).',
  })
  limit?: number;

  @Parameter(QueryInteger(), integer(0, Number.MAX_SAFE_INTEGER), {
    type: 'integer',
    minimum: 0,
    default: 0,
    description:
      'Events to skip, at most PAGINATION_MAX_OFFSET (100 000 unless configured). For deep pages use `cursor`, which costs the same everywhere.',
  })
  offset?: number;

  @Parameter(QueryText(), text(MAX_CURSOR_LENGTH, 1), {
    type: String,
    maxLength: MAX_CURSOR_LENGTH,
    description:
      '`nextCursor` or `previousCursor` of another page of the same query. Good only for the same principal, ' +
      'filter and sort.',
  })
  cursor?: string;

  @Parameter(QueryFlag(), flag, {
    type: Boolean,
    default: false,
    description:
      'Whether to count. Exact up to 10 000; above that `total` is 10000 and `totalIsExact` false.',
  })
  include_total?: boolean;
}

/** The query parameters of one event. */
export class AuditEventQuery {
  @ListParameter(
    name,
    'Look only in these organizations: ids that clients chose are unique only within one.',
    { schema: NAME_SCHEMA, example: 'org-1' },
  )
  organization_ids?: string[];
}

/** The filter that query parameters spell. */
export function filterOf(query: AuditEventFilterQuery): AuditEventFilter {
  const instantOf = (value?: string) =>
    value === undefined ? undefined : parseInstantOrDay(value);
  return {
    startDate: instantOf(query.start_date),
    endDate: instantOf(query.end_date),
    organizationIds: query.organization_ids,
    principalIds: query.principal_ids,
    actions: query.actions,
    statuses: query.statuses,
    dataClassifications: query.data_classifications,
    resourceTypes: query.resource_types,
    resourceIds: query.resource_ids,
    correlationIds: query.correlation_ids,
  };
}

/** The sort that query parameters spell, as far as they do. */
export function sortOf(
  query: Pick<AuditEventsQuery, 'sort_field' | 'sort_direction'>,
): Partial<AuditEventSort> {
  return {
    ...(query.sort_field ? { field: query.sort_field } : {}),
    ...(query.sort_direction ? { direction: query.sort_direction } : {}),
  };
}

/** The page that query parameters ask for. */
export function pageQueryOf(query: AuditEventsQuery): PageQuery {
  return {
    filter: filterOf(query),
    sort: sortOf(query),
    limit: query.limit,
    offset: query.offset,
    cursor: query.cursor,
    includeTotal: query.include_total,
  };
}
