import { applyDecorators } from '@nestjs/common';
import { validationFailed } from '../../../platform/errors/app-error';
import {
  epochHint,
  type FineInstant,
  isEarlier,
  parseFineInstantOrDay,
} from '../../../platform/runtime/instant';
import { flag, integer, oneOf, type Rule, text } from '../../../validation/constraints';
import { ListProperty, Parameter } from '../../../validation/dto-properties';
import { QueryFlag, QueryInteger, QueryList, QueryText } from '../../../validation/query-coercion';
import { MAX_NAME_LENGTH } from '../../event/audit-event';
import {
  type AuditEventFilter,
  type AuditEventSort,
  EVENT_FILTERS,
  type EventFilter,
  type FilterLists,
} from '../../event/audit-event-filter';
import type { PageQuery } from '../audit-pages';

/** Longer than any cursor of this service. */
export const MAX_CURSOR_LENGTH = 4096;

/** An instant; a day stands for its first. */
export const instant: Rule = (value) => {
  if (typeof value === 'string') {
    if (parseFineInstantOrDay(value) !== undefined) return undefined;
    if (parseFineInstantOrDay(value.replace(' ', '+')) !== undefined) {
      return 'has a space before its offset; encode + as %2B in a URL, such as 2026-11-23T10:30:00%2B01:00';
    }
  }
  return `must be an ISO 8601 instant with an offset and at most nine digits of a second, such as 2026-11-23T10:30:00Z, or a day, such as 2026-11-23${epochHint(value)}`;
};

/** The instant of an optional member. */
export function instantIn(text: string | null | undefined): FineInstant | undefined {
  return typeof text === 'string' ? parseFineInstantOrDay(text) : undefined;
}

/**
 * A half-open range. One that can hold no event is a mistake, and an empty list would hide it.
 * @throws AppError VALIDATION_FAILED at `path` when it ends before or where it starts.
 */
export function rangeOf(
  [start, end]: readonly (string | null | undefined)[],
  path: string,
): Pick<AuditEventFilter, 'startDate' | 'endDate'> {
  const [startDate, endDate] = [instantIn(start), instantIn(end)];
  if (startDate && endDate && !isEarlier(startDate, endDate)) {
    const message = 'must be after the start of the range, which does not include its end';
    throw validationFailed([{ path, message }]);
  }
  return { startDate, endDate };
}

export const MAX_LIST_ELEMENTS = 1000;

/** Declares a list of a filter, of names unless there are `words`. */
export function AlternativesProperty(
  words: readonly string[] | undefined,
  schema: object,
): PropertyDecorator {
  const element: [Rule, object] = words
    ? [oneOf(words), { enum: [...words] }]
    : [text(MAX_NAME_LENGTH, 1), { minLength: 1, maxLength: MAX_NAME_LENGTH }];
  return ListProperty(element, MAX_LIST_ELEMENTS, schema);
}

/** DTO class with the members of `base` and a list per filter, declared by `decorate`. */
export function withFilterLists<Base extends object, Name extends 'list' | 'parameter'>(
  base: new () => Base,
  name: Name,
  decorate: (filter: EventFilter) => PropertyDecorator,
): new () => Base & FilterLists<Name> {
  class WithFilterLists extends (base as new () => object) {}
  for (const filter of EVENT_FILTERS) decorate(filter)(WithFilterLists.prototype, filter[name]);
  return WithFilterLists as new () => Base & FilterLists<Name>;
}

/** Part of the description: the docs page would send an `example` with every request that is tried out. */
function ListParameter({
  description,
  words,
  example,
}: Pick<EventFilter, 'description' | 'words' | 'example'>): PropertyDecorator {
  return applyDecorators(
    QueryList(),
    AlternativesProperty(words, {
      description: `${description} Such as \`${example}\`; write \`\\,\` for a comma inside one, or repeat the parameter with one value each.`,
      style: 'form',
      explode: false,
    }),
  );
}

export const SortField = (): PropertyDecorator =>
  Parameter(QueryText(), oneOf(['timestamp', 'sequence']), {
    type: String,
    enum: ['timestamp', 'sequence'],
    default: 'timestamp',
    description: 'Sort by when it happened, or by the order in which its organization recorded it.',
  });

export const SortDirection = (): PropertyDecorator =>
  Parameter(QueryText(), oneOf(['asc', 'desc']), {
    type: String,
    enum: ['asc', 'desc'],
    default: 'desc',
    description: 'Oldest or newest first.',
  });

class TenantsAndTimeQuery {
  @Parameter(QueryText(), instant, {
    type: String,
    description:
      'From this instant on (`timestamp`), such as `2026-11-23T10:30:00Z`; a day, such as `2026-11-01`, means its ' +
      'first moment in UTC.',
  })
  start_date?: string;

  @Parameter(QueryText(), instant, {
    type: String,
    description: 'Up to but not including this instant, such as `2026-12-01`. After `start_date`.',
  })
  end_date?: string;

  @ListParameter({
    description: 'Of these organizations only. Left out: of all that the token names.',
    example: 'org-1,org-2',
  })
  organization_ids?: string[];
}

export class AuditEventFilterQuery extends withFilterLists(
  TenantsAndTimeQuery,
  'parameter',
  ListParameter,
) {}

export class AuditEventsQuery extends AuditEventFilterQuery {
  @SortField()
  sort_field?: AuditEventSort['field'];

  @SortDirection()
  sort_direction?: AuditEventSort['direction'];

  // Configured limits are checked by the service.
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
      '`nextCursor`, `previousCursor` or `resumeCursor` of another page of the same query. Good only for the same ' +
      'principal, filter and sort.',
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

export class AuditEventQuery {
  @ListParameter({
    description:
      'Look only in these organizations: ids that clients chose are unique only within one.',
    example: 'org-1',
  })
  organization_ids?: string[];
}

export function filterOf(query: AuditEventFilterQuery): AuditEventFilter {
  const lists = EVENT_FILTERS.map(({ list, parameter }) => [list, query[parameter]]);
  return {
    ...rangeOf([query.start_date, query.end_date], 'end_date'),
    organizationIds: query.organization_ids,
    ...(Object.fromEntries(lists) as FilterLists<'list'>),
  };
}

export function sortOf(
  query: Pick<AuditEventsQuery, 'sort_field' | 'sort_direction'>,
): Partial<AuditEventSort> {
  return {
    ...(query.sort_field ? { field: query.sort_field } : {}),
    ...(query.sort_direction ? { direction: query.sort_direction } : {}),
  };
}

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
