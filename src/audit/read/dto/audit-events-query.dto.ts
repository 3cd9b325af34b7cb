import { applyDecorators } from '@nestjs/common';
import { parseInstantOrDay } from '../../../platform/runtime/instant';
import { flag, integer, oneOf, text, type Rule } from '../../../validation/constraints';
import { ListProperty, Parameter } from '../../../validation/request-properties';
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

/** Longer than any cursor that we make. */
export const MAX_CURSOR_LENGTH = 4096;

/** A moment, or the first one of a day. */
export const instant: Rule = (value) =>
  typeof value === 'string' && parseInstantOrDay(value) !== undefined
    ? undefined
    : 'must be an ISO 8601 instant with an offset, such as 2026-11-23T10:30:00Z, or a day, such as 2026-11-23';

/** Alternatives in one list of a filter. */
export const MAX_LIST_ELEMENTS = 1000;

/** An element of a list: its rule, and how it is documented. */
export const NAME = [
  text(MAX_NAME_LENGTH, 1),
  { minLength: 1, maxLength: MAX_NAME_LENGTH },
] as const;

/** One of a few words in a list. */
export const word = (words: readonly string[]) => [oneOf(words), { enum: [...words] }] as const;

/** The example is in words: the docs page would send an `example` along with every request that is tried out. */
function ListParameter(element: readonly [Rule, object], description: string, example: string) {
  return applyDecorators(
    QueryList(),
    ListProperty(element, MAX_LIST_ELEMENTS, {
      description: `${description} Such as \`${example}\`; write \`\\,\` for a comma inside one.`,
      // Comma-separated, as opposed to one parameter for each element.
      style: 'form',
      explode: false,
    }),
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

  @ListParameter(
    NAME,
    'Of these organizations only. Left out: of all that the token names.',
    'org-1,org-2',
  )
  organization_ids?: string[];

  @ListParameter(NAME, 'By these principals.', 'user-1,user-2')
  principal_ids?: string[];

  @ListParameter(NAME, 'These actions.', 'user.login,user.logout')
  actions?: string[];

  @ListParameter(word(EVENT_STATUSES), 'With these outcomes.', 'failure,attempt')
  statuses?: EventStatus[];

  @ListParameter(word(DATA_CLASSIFICATIONS), 'Of these classifications.', 'CONFIDENTIAL,PHI')
  data_classifications?: DataClassification[];

  @ListParameter(NAME, 'On resources of these types.', 'Patient,Observation')
  resource_types?: string[];

  @ListParameter(NAME, 'On these resources.', 'pat-1,pat-2')
  resource_ids?: string[];

  @ListParameter(NAME, 'With these correlation ids.', 'req-7f3a,req-7f3b')
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
    NAME,
    'Look only in these organizations: ids that clients chose are unique only within one.',
    'org-1',
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
