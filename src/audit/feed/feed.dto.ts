import { flag, integer, text } from '../../validation/constraints';
import {
  NestedProperty,
  Parameter,
  Property,
  TextProperty,
  WordProperty,
} from '../../validation/dto-properties';
import { QueryText } from '../../validation/query-coercion';
import { AuditEventFilterDto, AuditEventSearchDto } from '../read/dto/audit-event-search.dto';
import { AuditEventFilterQuery, MAX_CURSOR_LENGTH } from '../read/dto/audit-events-query.dto';

/** Limit of a cursor: a fingerprint or watermark, and the positions of a hundred organizations. */
const MAX_FEED_CURSOR_LENGTH = 4096;

/** Parameters of a subscription in GraphQL and tRPC. */
export class AuditEventFeedDto {
  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @TextProperty(MAX_FEED_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the feed goes on behind it.',
  })
  lastEventId?: string | null;
}

/** Options of a tRPC stream: format, events read at a time, compression. */
class StreamingDto {
  @WordProperty(['json', 'ndjson'], {
    description:
      'Either way one event comes after the other, as an object. CSV is to be had by GET /api/v1/audit/events/stream.',
  })
  format?: 'json' | 'ndjson' | null;

  @Property(
    integer(100, 10_000),
    { type: 'integer', minimum: 100, maximum: 10_000 },
    {
      description:
        'Events read at a time, at most PAGINATION_MAX_LIMIT of them; comes before `pagination.limit`.',
    },
  )
  chunkSize?: number | null;

  @Property(
    flag,
    { type: Boolean },
    { description: 'Without effect: `Accept-Encoding` of the request decides.' },
  )
  compression?: boolean | null;
}

/** Parameters of a stream of all events of a search; `pagination.limit` is the number that is read at a time. */
export class AuditEventStreamDto extends AuditEventSearchDto {
  @NestedProperty(() => StreamingDto)
  streaming?: StreamingDto | null;

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
      'taken too; only with an `id` is a number that was given again, after the database lost events, told apart. Of more than 100 organizations, or all, it ' +
      'is an `id` of the same stream. The header `Last-Event-ID`, which clients send by themselves, comes first. Left out: from now on.',
  })
  after_sequence?: string;
}
