import { NestedProperty, TextProperty } from '../../../validation/dto-properties';
import { AuditEventFilterDto } from '../../read/dto/audit-event-search.dto';

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
