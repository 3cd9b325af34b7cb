import { parseFineInstantOrDay } from '../../../platform/runtime/instant';
import { CSV_DELIMITERS, type CsvDelimiter } from '../../../streaming/export-format';
import { flag, integer, oneOf, type Rule, text, uuid } from '../../../validation/constraints';
import { ListProperty, Parameter } from '../../../validation/dto-properties';
import { QueryFlag, QueryInteger, QueryList, QueryText } from '../../../validation/query-coercion';
import { MAX_NAME_LENGTH } from '../../event/audit-event';
import type { AuditEventSort } from '../../event/audit-event-filter';
import type { EventFormatName } from '../../event/formats/event-formats';
import { EXPORT_FORMAT_NAMES, EXPORT_SCHEMAS, type ExportName } from '../export-layout';
import { CSV_COLUMNS } from '../export-statement';
import {
  AuditEventFilterQuery,
  instant,
  SortDirection,
  SortField,
} from '../../read/dto/audit-events-query.dto';

const CSV_DELIMITER_NAMES = Object.keys(CSV_DELIMITERS) as CsvDelimiter[];

/** Recorded events have whole microseconds: more digits are of another time. */
const recordingTime: Rule = (value) => {
  const refusal = instant(value);
  if (refusal !== undefined || parseFineInstantOrDay(String(value))?.submicros === '')
    return refusal;
  return 'must be the `recordedAt` of an event, which has at most six digits of a second';
};

export class AuditExportQuery extends AuditEventFilterQuery {
  @SortField()
  sort_field?: AuditEventSort['field'];

  @SortDirection()
  sort_direction?: AuditEventSort['direction'];

  @Parameter(QueryText(), oneOf(EXPORT_FORMAT_NAMES), {
    type: String,
    enum: [...EXPORT_FORMAT_NAMES],
    description:
      '`json`: one array. `ndjson`: an event a line. `csv`: RFC 4180 with a header row. `cef`: a line of ArcSight’s ' +
      'Common Event Format per event. Left out: what `Accept` asks for, else `json`.',
  })
  format?: ExportName;

  @Parameter(QueryText(), oneOf(EXPORT_SCHEMAS), {
    type: String,
    enum: [...EXPORT_SCHEMAS],
    default: 'native',
    description:
      'Only for `json` and `ndjson`: the form of each event. `native`: as everywhere in this API. `cloudevents`: ' +
      'CloudEvents 1.0, the event in `data`. `ocsf`: OCSF 1.3, the event in `unmapped`. `ecs`: Elastic Common Schema ' +
      '9.4, the text of the event in `event.original`.',
  })
  schema?: EventFormatName;

  @Parameter(QueryInteger(), integer(100, 10_000), {
    type: 'integer',
    minimum: 100,
    maximum: 10_000,
    default: 1000,
    description: 'Events that are written at once, up to 1 MiB of them.',
  })
  chunk_size?: number;

  @Parameter(QueryFlag(), flag, {
    type: Boolean,
    description:
      '`true`: compressed, with gzip unless `Accept-Encoding` prefers br. `false`: not compressed, whatever ' +
      '`Accept-Encoding` says. Left out: as `Accept-Encoding` says.',
  })
  compression?: boolean;

  @Parameter(QueryFlag(), flag, {
    type: Boolean,
    default: false,
    description:
      'Only for `csv`: cells that begin with `=`, `+`, `-`, `@`, a tab, a carriage return or a line feed are left as ' +
      'they are. Otherwise an apostrophe is put before them, so that no spreadsheet computes them; also before such a ' +
      'character within a cell, behind a line break or what another reader takes for the separator; and before the ' +
      'apostrophes that are there already, so that taking one off gives the value. JSON cells keep their value: `;` may ' +
      'be written `\\u003b` in them.',
  })
  csv_raw?: boolean;

  @Parameter(QueryFlag(), flag, {
    type: Boolean,
    default: false,
    description: 'Only for `csv`: a byte-order mark first, by which Excel knows UTF-8.',
  })
  bom?: boolean;

  @Parameter(QueryText(), oneOf(CSV_DELIMITER_NAMES), {
    type: String,
    enum: [...CSV_DELIMITER_NAMES],
    default: 'comma',
    description: 'Only for `csv`: what separates the cells.',
  })
  delimiter?: CsvDelimiter;

  @QueryList()
  @ListProperty([oneOf(CSV_COLUMNS), { enum: [...CSV_COLUMNS] }], CSV_COLUMNS.length, {
    description:
      'Only for `csv`: these columns in this order, such as `timestamp,action,principalId`. Left out: all.',
    style: 'form',
    explode: false,
  })
  columns?: string[];

  @Parameter(QueryText(), text(4096, 1), {
    type: String,
    maxLength: 4096,
    description:
      '`nextCursor` or `resumeCursor` of a page of the same list: what comes behind that page. By `sequence`, of several ' +
      'organizations, it is what skips nothing: `after_id` goes on in the order of this list, in which an organization ' +
      'that began to record later lies behind.',
  })
  cursor?: string;

  @Parameter(QueryText(), instant, {
    type: String,
    description:
      'To go on after an event: its `timestamp`, with all its digits, together with `after_id`. Not with `cursor`.',
  })
  after_timestamp?: string;

  @Parameter(QueryText(), uuid, {
    type: String,
    format: 'uuid',
    description: 'The `id` of that event.',
  })
  after_id?: string;

  @Parameter(QueryText(), recordingTime, {
    type: String,
    format: 'date-time',
    description:
      'The `recordedAt` of that event, for `sort_field=sequence`: an export is refused (`TIMELINE_CHANGED`) when the database ' +
      'has lost the event since and it was recorded again.',
  })
  after_recorded_at?: string;

  @Parameter(QueryText(), text(MAX_NAME_LENGTH, 1), {
    type: String,
    maxLength: MAX_NAME_LENGTH,
    description:
      'The `organizationId` of that event. Needed only when several organizations have an event with this id and timestamp.',
  })
  after_organization_id?: string;
}
