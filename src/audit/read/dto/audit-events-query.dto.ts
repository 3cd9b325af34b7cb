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
import { MAX_QUERY_LENGTH, parseEventQuery, QUALIFIERS } from '../../event/event-query';
import { parseMetadataTerm } from '../../event/metadata-terms';
import { parseValueTerm } from '../../event/value-terms';
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

/** A value with the characters of its operators (value-terms.ts). */
const MAX_TERM_LENGTH = MAX_NAME_LENGTH + 3;

const term = (isAddress: boolean | undefined): Rule =>
  parsedBy(text(MAX_TERM_LENGTH, 1), (given) => {
    const { value } = parseValueTerm(given, isAddress);
    if (value.length > MAX_NAME_LENGTH && [...value].length > MAX_NAME_LENGTH) {
      throw new RangeError(`must be text of 1 to ${MAX_NAME_LENGTH} characters`);
    }
  });

/** A rule for text that `parse` takes; its RangeError is the violation. */
function parsedBy(rule: Rule, parse: (value: string) => unknown): Rule {
  return (value) => {
    const violation = rule(value);
    if (violation !== undefined) return violation;
    try {
      parse(value as string);
      return undefined;
    } catch (error) {
      if (error instanceof RangeError) return error.message;
      throw error;
    }
  };
}

type Alternatives = Pick<EventFilter, 'description' | 'words' | 'isAddress'> & { list?: string };

/** Declares a list: the words of a filter, or its values with operators; without a filter, names. */
export function AlternativesProperty(
  { words, isAddress, list }: Omit<Alternatives, 'description'>,
  schema: object,
): PropertyDecorator {
  const maxLength = list === undefined ? MAX_NAME_LENGTH : MAX_TERM_LENGTH;
  const rule = list === undefined ? text(MAX_NAME_LENGTH, 1) : term(isAddress);
  const element: [Rule, object] = words
    ? [oneOf(words), { enum: [...words] }]
    : [rule, { minLength: 1, maxLength }];
  return ListProperty(element, MAX_LIST_ELEMENTS, schema);
}

const MAX_METADATA_TERMS = 20;
const MAX_METADATA_TERM_LENGTH = 2000;

/** Declares the list of conditions on metadata. */
export const MetadataTermsProperty = (schema: object): PropertyDecorator =>
  ListProperty(
    [
      parsedBy(text(MAX_METADATA_TERM_LENGTH, 1), parseMetadataTerm),
      { minLength: 1, maxLength: MAX_METADATA_TERM_LENGTH },
    ],
    MAX_METADATA_TERMS,
    {
      description:
        'Conditions on metadata: `path=value`, or `path` for any value there; `!` before it negates. Names of a path are between dots; lists stand for each of their elements. `42` is the number and the text, `"42"` the text alone, and a text may end in `*`. Conditions on one path are alternatives, those on several paths all hold.',
      ...schema,
    },
  );

/** The rule and the schema of a query. */
export const queryRule: Rule = parsedBy(text(MAX_QUERY_LENGTH, 1), parseEventQuery);
export const QUERY_DESCRIPTION = `Words and \`"texts"\` of at least three characters that the action, principal, targets, outcome or metadata must hold, in any case, and qualifiers: \`actor:alice action:invoice.* -status:success ip:10.1.0.0/16 metadata.order.id:42 after:2026-11-01 "text"\`. \`-\` negates, commas separate alternatives, quotes take a value as it is. Qualifiers: ${QUALIFIERS.join(', ')}.`;

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

/** Operators of values (value-terms.ts), for descriptions. */
export const OPERATORS = ' `*` at the end of a value is any text, `!` before it excludes it.';

/** Part of the description: the docs page would send an `example` with every request that is tried out. */
function ListParameter({
  description,
  example,
  ...filter
}: Alternatives & Pick<EventFilter, 'example'>): PropertyDecorator {
  return applyDecorators(
    QueryList(),
    AlternativesProperty(filter, {
      description: `${description}${filter.list !== undefined && !filter.words ? OPERATORS : ''} Such as \`${example}\`; write \`\\,\` for a comma inside one, or repeat the parameter with one value each.`,
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

  @QueryList()
  @MetadataTermsProperty({ style: 'form', explode: false })
  metadata?: string[];

  @Parameter(QueryText(), queryRule, {
    type: String,
    minLength: 1,
    maxLength: MAX_QUERY_LENGTH,
    description: QUERY_DESCRIPTION,
  })
  q?: string;
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
    ...(query.metadata ? { metadata: query.metadata } : {}),
    ...(query.q === undefined ? {} : { q: query.q }),
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
