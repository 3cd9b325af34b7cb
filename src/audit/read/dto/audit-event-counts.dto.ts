import { ApiProperty } from '@nestjs/swagger';
import { oneOf, type Rule, text } from '../../../validation/constraints';
import {
  ApiBoolean,
  ApiInstant,
  ApiInteger,
  ApiParts,
  ApiWord,
  NestedProperty,
  Parameter,
  Property,
} from '../../../validation/dto-properties';
import { QueryText } from '../../../validation/query-coercion';
import { COUNT_KEYS, type CountKey } from '../count-statement';
import type { CountQuery } from '../event-counts';
import {
  AuditEventFilterDto,
  CacheTtlProperty,
  filterIn,
  UseCacheProperty,
} from './audit-event-search.dto';
import { AuditEventFilterQuery, filterOf } from './audit-events-query.dto';

const MAX_ZONE_LENGTH = 64;
/** Offsets have another sign in PostgreSQL, and do not follow summer time. */
const ZONE_NAME = /^[A-Za-z][A-Za-z0-9_+/-]*$/;
const BY =
  'What to count by. `day` and `hour` need the start of a range. An event with targets of several types counts for each of them.';
const TIME_ZONE =
  'Whose days are counted, for counts by day: a name of the IANA time zone database. Left out: UTC.';

/** A name of the IANA time zone database, such as `Europe/Berlin`. */
const timeZone: Rule = (value) => {
  const violation = text(MAX_ZONE_LENGTH, 1)(value);
  if (violation !== undefined) return violation;
  const name = value as string;
  return ZONE_NAME.test(name) && isTimeZone(name)
    ? undefined
    : 'must be a name of the IANA time zone database, such as Europe/Berlin';
};

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Counts in REST. */
export class AuditEventCountsQuery extends AuditEventFilterQuery {
  @QueryText()
  @Property(
    oneOf(COUNT_KEYS),
    { type: String, enum: [...COUNT_KEYS] },
    { description: BY, required: true },
  )
  by!: CountKey;

  @Parameter(QueryText(), timeZone, {
    type: String,
    minLength: 1,
    maxLength: MAX_ZONE_LENGTH,
    description: `${TIME_ZONE} Such as \`Europe/Berlin\`.`,
  })
  time_zone?: string;
}

/** Counts in GraphQL and tRPC. */
export class AuditEventCountsSearchDto {
  @Property(
    oneOf(COUNT_KEYS),
    { type: String, enum: [...COUNT_KEYS] },
    { description: BY, required: true },
  )
  by!: CountKey;

  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @Property(
    timeZone,
    { type: String, minLength: 1, maxLength: MAX_ZONE_LENGTH },
    { description: TIME_ZONE },
  )
  timeZone?: string | null;

  @UseCacheProperty()
  useCache?: boolean | null;

  @CacheTtlProperty()
  cacheTTL?: number | null;
}

/** Events of one value, or of one day or hour. */
export class AuditEventCountDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'user.login',
    description:
      'Null for events without one. Of a day its date in the time zone, of an hour its beginning in UTC.',
  })
  value!: string | null;

  @ApiInteger(128)
  count!: number;

  @ApiInstant('Of a day or hour: its beginning, for `start_date`.', { required: false })
  startDate?: string;

  @ApiInstant('Of a day or hour: its end, for `end_date`.', { required: false })
  endDate?: string;
}

/** Events counted by a value, the same in every API. */
export class AuditEventCountsDto {
  @ApiWord(COUNT_KEYS, 'action')
  by!: CountKey;

  @ApiParts(
    () => AuditEventCountDto,
    'The 100 values with most events, those of as many in the order of their bytes and null last; days and hours with events, in the order of time.',
  )
  counts!: AuditEventCountDto[];

  @ApiInteger(140, 'Events, each counted once.')
  total!: number;

  @ApiInteger(7, 'Values, those beyond the 100 too.')
  distinct!: number;

  @ApiBoolean(
    true,
    'False when the time for the count (READ_BUDGET_MS) was over: all numbers are lower bounds, those of the events from `countedFrom` on.',
  )
  countIsExact!: boolean;

  @ApiInstant('Where the count ended, if it is not exact: earlier events are not counted.', {
    required: false,
  })
  countedFrom?: string;
}

export function countQueryOf({ by, time_zone, ...filter }: AuditEventCountsQuery): CountQuery {
  return { by, filter: filterOf(filter), timeZone: time_zone };
}

export function countQueryIn({ by, filter, timeZone }: AuditEventCountsSearchDto): CountQuery {
  return { by, filter: filterIn(filter), timeZone: timeZone ?? undefined };
}
