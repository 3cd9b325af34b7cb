import { ApiProperty } from '@nestjs/swagger';
import {
  ApiBoolean,
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiObject,
  ApiPart,
  ApiParts,
  ApiText,
  ApiUuid,
  ApiWord,
} from '../../../validation/dto-properties';
import { DATA_CLASSIFICATIONS, EVENT_STATUSES } from '../audit-event';
import {
  EventChangeDto,
  EventSourceDto,
  EventTargetDto,
  SessionContextDto,
} from './create-audit-event.dto';

/** Absent where it was not given. */
const SPARSE = { required: false } as const;

/** A recorded event, the same in every API. */
export class AuditEventDto {
  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  id!: string;

  @ApiInstant('When it happened; UTC, six digits of a second, up to nine where they were sent.', {
    example: '2026-11-23T10:30:00.123456Z',
  })
  timestamp!: string;

  @ApiInstant('When it was recorded; UTC, microseconds.', {
    example: '2026-11-23T10:30:00.234567Z',
  })
  recordedAt!: string;

  @ApiText('1042', 'The number of the event in its organization, in commit order, without gaps.', {
    pattern: '^[1-9][0-9]*$',
  })
  sequence!: string;

  @ApiText('org-1')
  organizationId!: string;

  @ApiText('user-1', undefined, { nullable: true })
  principalId!: string | null;

  @ApiText('fhirPatientRead')
  action!: string;

  @ApiText('Patient', undefined, { nullable: true })
  targetResourceType!: string | null;

  @ApiText('pat-1', undefined, { nullable: true })
  targetResourceId!: string | null;

  @ApiWord(EVENT_STATUSES, 'success')
  status!: string;

  @ApiText('Opened the chart', undefined, { nullable: true })
  outcomeDescription!: string | null;

  @ApiWord(DATA_CLASSIFICATIONS, 'PHI')
  dataClassification!: string;

  @ApiText('req-7f3a', undefined, { nullable: true })
  correlationId!: string | null;

  @ApiPart(() => SessionContextDto, undefined, { nullable: true })
  sessionContext!: SessionContextDto | null;

  @ApiObject({ ward: 'B2', durationMs: 12.5 }, undefined, { nullable: true })
  metadata!: Record<string, unknown> | null;

  @ApiText('user', 'Only where it was given, as each member from here on.', SPARSE)
  principalType?: string;

  @ApiText('Ada Lovelace', undefined, SPARSE)
  principalName?: string;

  @ApiParts(() => EventTargetDto, 'The first is the target resource above.', SPARSE)
  targets?: EventTargetDto[];

  @ApiParts(() => EventChangeDto, '`[{ path, old, new }]`; numbers as they were sent.', SPARSE)
  changes?: EventChangeDto[];

  @ApiPart(() => EventSourceDto, undefined, SPARSE)
  source?: EventSourceDto;

  @ApiText('2', undefined, SPARSE)
  schemaVersion?: string;
}

/** Described alike in every API. */
export const RESUME_CURSOR =
  'For `cursor`, on the last page of an ascending list, also an empty one: come back with it for what is added later. By ' +
  '`sequence` (up to 100 organizations) each event that is recorded later comes exactly once, in the order of recording, ' +
  'whatever its timestamp. By `timestamp` it is a moment: an event that is recorded later with an earlier timestamp does not come.';

export const PARTIAL_PAGE =
  'True when the time for a search (READ_BUDGET_MS) was over before the page was full or the list at its end: the page has ' +
  'the events found so far, perhaps none, and its cursor goes on where the search ended. Pages put together this way are the whole list.';

/** The part of a list that a page covers. */
export class PageInfoDto {
  @ApiInteger(50)
  limit!: number;

  @ApiInteger(0, 'Absent on pages by cursor.', { required: false })
  offset?: number;

  @ApiInteger(128, 'Only with include_total.', { required: false })
  total?: number;

  @ApiBoolean(
    true,
    'Only with include_total: false above 10 000, or when the time for the count was over: `total` is a lower bound.',
    { required: false },
  )
  totalIsExact?: boolean;

  @ApiBoolean(true, PARTIAL_PAGE, { required: false })
  partial?: true;

  @ApiBoolean(true)
  hasNext!: boolean;

  @ApiBoolean(false)
  hasPrevious!: boolean;

  @ApiProperty({
    type: String,
    required: false,
    description: 'For `cursor`: the page after this one.',
  })
  nextCursor?: string;

  @ApiProperty({
    type: String,
    required: false,
    description: 'For `cursor`: the page before this one.',
  })
  previousCursor?: string;

  @ApiProperty({ type: String, required: false, description: RESUME_CURSOR })
  resumeCursor?: string;
}

export class AuditEventPageDto {
  @ApiParts(() => AuditEventDto)
  data!: AuditEventDto[];

  @ApiPart(() => PageInfoDto)
  pagination!: PageInfoDto;
}

export class BulkResultDto {
  @ApiInteger(0, 'Its place in `events`.')
  index!: number;

  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  id!: string;

  @ApiText('1042')
  sequence!: string;

  @ApiWord(['created', 'duplicate'], 'created')
  status!: string;
}

export class BulkPerformanceDto {
  @ApiNumber(41.7, 'Milliseconds.')
  totalTime!: number;

  @ApiNumber(0.042, 'Milliseconds.')
  averageTimePerEvent!: number;

  @ApiNumber(
    33.333,
    'Percent of CONCURRENCY_MAX_REQUESTS that requests of this organization take; for a token of several, its own.',
  )
  concurrencyUtilization!: number;
}

export class BulkCreateResultDto {
  @ApiInteger(1)
  created!: number;

  @ApiInteger(0)
  duplicates!: number;

  @ApiInteger(1, 'INSERT statements.')
  batches!: number;

  @ApiParts(() => BulkResultDto)
  results!: BulkResultDto[];

  @ApiPart(() => BulkPerformanceDto)
  performance!: BulkPerformanceDto;
}
