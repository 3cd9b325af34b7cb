import { NestedProperty, TextProperty } from '../../../validation/request-properties';
import { AuditEventFilterDto } from '../../read/dto/audit-event-search.dto';

/** A fingerprint and the numbers of a hundred organizations. */
const MAX_FEED_CURSOR_LENGTH = 4096;

/** Which recorded events to be told of, as the doors beside REST take it. */
export class AuditEventFeedDto {
  @NestedProperty(() => AuditEventFilterDto)
  filter?: AuditEventFilterDto | null;

  @TextProperty(MAX_FEED_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the feed goes on behind it.',
  })
  lastEventId?: string | null;
}
