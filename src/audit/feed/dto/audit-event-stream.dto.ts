import { MAX_CURSOR_LENGTH } from '../../read/dto/audit-events-query.dto';
import { AuditEventSearchDto } from '../../read/dto/audit-event-search.dto';
import { TextProperty } from '../../../validation/request-properties';

/** All events that a search means; `pagination.limit` is how many are read at a time, and there is no cap on them. */
export class AuditEventStreamDto extends AuditEventSearchDto {
  @TextProperty(MAX_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the stream goes on behind it.',
  })
  lastEventId?: string | null;
}
