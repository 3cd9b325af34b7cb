import { MAX_CURSOR_LENGTH } from '../../read/dto/audit-events-query.dto';
import { AuditEventSearchDto } from '../../read/dto/audit-event-search.dto';
import { TextProperty } from '../../../validation/dto-properties';

/** All events of a search; `pagination.limit` is the number read at a time. */
export class AuditEventStreamDto extends AuditEventSearchDto {
  @TextProperty(MAX_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the stream goes on behind it.',
  })
  lastEventId?: string | null;
}
