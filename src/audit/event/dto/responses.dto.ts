import { ApiProperty } from '@nestjs/swagger';
import { DATA_CLASSIFICATIONS, EVENT_STATUSES } from '../audit-event';
import { SessionContextDto } from './create-audit-event.dto';

/** A recorded event, as every door gives it. */
export class AuditEventDto {
  @ApiProperty({ type: String, format: 'uuid', example: '019ab1c2-3e4a-7000-8000-1234567890ab' })
  id!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    example: '2026-11-23T10:30:00.123456Z',
    description: 'When it happened; UTC, microseconds.',
  })
  timestamp!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    example: '2026-11-23T10:30:00.234567Z',
    description: 'When it was recorded; UTC, microseconds.',
  })
  recordedAt!: string;

  @ApiProperty({
    type: String,
    pattern: '^[1-9][0-9]*$',
    example: '1042',
    description: 'The number of the event in its organization, in commit order, without gaps.',
  })
  sequence!: string;

  @ApiProperty({ type: String, example: 'org-1' })
  organizationId!: string;

  @ApiProperty({ type: String, nullable: true, example: 'user-1' })
  principalId!: string | null;

  @ApiProperty({ type: String, example: 'fhirPatientRead' })
  action!: string;

  @ApiProperty({ type: String, nullable: true, example: 'Patient' })
  targetResourceType!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'pat-1' })
  targetResourceId!: string | null;

  @ApiProperty({ type: String, enum: EVENT_STATUSES, example: 'success' })
  status!: string;

  @ApiProperty({ type: String, nullable: true, example: 'Opened the chart' })
  outcomeDescription!: string | null;

  @ApiProperty({ type: String, enum: DATA_CLASSIFICATIONS, example: 'PHI' })
  dataClassification!: string;

  @ApiProperty({ type: String, nullable: true, example: 'req-7f3a' })
  correlationId!: string | null;

  @ApiProperty({ type: () => SessionContextDto, nullable: true })
  sessionContext!: SessionContextDto | null;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    nullable: true,
    example: { ward: 'B2', durationMs: 12.5 },
  })
  metadata!: Record<string, unknown> | null;
}

/** Where a page lies in its list. */
export class PageInfoDto {
  @ApiProperty({ type: 'integer', example: 50 })
  limit!: number;

  @ApiProperty({
    type: 'integer',
    required: false,
    example: 0,
    description: 'Absent on pages by cursor.',
  })
  offset?: number;

  @ApiProperty({
    type: 'integer',
    required: false,
    example: 128,
    description: 'Only with include_total.',
  })
  total?: number;

  @ApiProperty({
    type: Boolean,
    required: false,
    example: true,
    description: 'Only with include_total: false above 10 000, when `total` is a lower bound.',
  })
  totalIsExact?: boolean;

  @ApiProperty({ type: Boolean, example: true })
  hasNext!: boolean;

  @ApiProperty({ type: Boolean, example: false })
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
}

/** A page of events. */
export class AuditEventPageDto {
  @ApiProperty({ type: () => [AuditEventDto] })
  data!: AuditEventDto[];

  @ApiProperty({ type: () => PageInfoDto })
  pagination!: PageInfoDto;
}

/** What became of one event of a bulk request. */
export class BulkResultDto {
  @ApiProperty({ type: 'integer', example: 0, description: 'Its place in `events`.' })
  index!: number;

  @ApiProperty({ type: String, format: 'uuid', example: '019ab1c2-3e4a-7000-8000-1234567890ab' })
  id!: string;

  @ApiProperty({ type: String, example: '1042' })
  sequence!: string;

  @ApiProperty({ type: String, enum: ['created', 'duplicate'], example: 'created' })
  status!: string;
}

/** What a bulk request cost, up to its commit. */
export class BulkPerformanceDto {
  @ApiProperty({ type: Number, example: 41.7, description: 'Milliseconds.' })
  totalTime!: number;

  @ApiProperty({ type: Number, example: 0.042, description: 'Milliseconds.' })
  averageTimePerEvent!: number;

  @ApiProperty({
    type: Number,
    example: 33.333,
    description:
      'Percent of CONCURRENCY_MAX_REQUESTS that requests of this organization take; for a token of several, its own.',
  })
  concurrencyUtilization!: number;
}

/** The answer to a bulk request. */
export class BulkCreateResultDto {
  @ApiProperty({ type: 'integer', example: 1 })
  created!: number;

  @ApiProperty({ type: 'integer', example: 0 })
  duplicates!: number;

  @ApiProperty({ type: 'integer', example: 1, description: 'INSERT statements.' })
  batches!: number;

  @ApiProperty({ type: () => [BulkResultDto] })
  results!: BulkResultDto[];

  @ApiProperty({ type: () => BulkPerformanceDto })
  performance!: BulkPerformanceDto;
}
