import { text } from '../../validation/constraints';
import { NestedProperty, Parameter, TextProperty } from '../../validation/dto-properties';
import { QueryText } from '../../validation/query-coercion';
import { AuditEventFilterDto, AuditEventSearchDto } from '../read/dto/audit-event-search.dto';
import { AuditEventFilterQuery, MAX_CURSOR_LENGTH } from '../read/dto/audit-events-query.dto';

/** A fingerprint and the positions of a hundred organizations. */
const MAX_FEED_CURSOR_LENGTH = 4096;

/** A subscription in GraphQL and tRPC. */
export class AuditEventFeedDto {
  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @TextProperty(MAX_FEED_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the feed goes on behind it.',
  })
  lastEventId?: string | null;
}

/** All events of a search; `pagination.limit` is the number read at a time. */
export class AuditEventStreamDto extends AuditEventSearchDto {
  @TextProperty(MAX_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the stream goes on behind it.',
  })
  lastEventId?: string | null;
}

export class AuditTailQuery extends AuditEventFilterQuery {
  @Parameter(QueryText(), text(MAX_CURSOR_LENGTH, 1), {
    type: String,
    maxLength: MAX_CURSOR_LENGTH,
    description:
      'Go on behind this event: its `id` in the stream. For one organization `0` is the beginning, and a `sequence` alone is ' +
      'taken too; only with an `id` is a number that was given again, after the database lost events, told apart. The header `Last-Event-ID`, which clients send by themselves, comes first. Left out: from now on.',
  })
  after_sequence?: string;
}
