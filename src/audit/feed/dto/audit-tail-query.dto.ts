import { text } from '../../../validation/constraints';
import { Parameter } from '../../../validation/dto-properties';
import { QueryText } from '../../../validation/query-coercion';
import { AuditEventFilterQuery, MAX_CURSOR_LENGTH } from '../../read/dto/audit-events-query.dto';

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
